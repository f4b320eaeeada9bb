"""What a page's visitors may use goes into every run they start, where its worker reads it."""

from __future__ import annotations

import pytest

from lora_explorer.base_models import Access
from lora_explorer.preview.request import request_from
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.preview_answers import PreviewAnswers
from lora_explorer.ui.preview_desk import Wish
from lora_explorer.ui.preview_form import PUBLIC_LIMITS


@pytest.mark.parametrize("access", [Access(), Access(folders=False)])
def test_a_run_may_read_what_its_visitor_may_read_and_no_more(access: Access) -> None:
    request = PreviewAnswers(access, PUBLIC_LIMITS).request(start_draft().for_page(), Wish())
    assert request_from(request.record()).access == access
    assert request_from(request.record()).limits == PUBLIC_LIMITS
