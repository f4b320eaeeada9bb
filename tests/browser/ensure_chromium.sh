#!/bin/sh
# The browser tests drive a real Chromium: install Debian's where it is missing and this user may, else say what to do.
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
command -v chromium >/dev/null 2>&1 && exit 0
echo "The browser tests need Chromium: install Debian's package with 'apt-get install chromium', then run again." >&2
exit 1
