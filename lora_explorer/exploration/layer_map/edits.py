"""Edits of the layer × module map: what is adapted, and with which rank, once a part of it is drawn otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.exploration.layer_map.assignment import Assignment, Strength, assignment_of
from lora_explorer.exploration.layer_map.sites import Site, sites_of
from lora_explorer.exploration.layer_map.wording import Wording, word_assignment
from lora_explorer.settings import Recipe
from lora_explorer.settings.values import HIGHEST_ALPHA, HIGHEST_RANK


@dataclass(frozen=True)
class _Cells:
    """Which cells of the map. names: endings of paths, such as q_proj or mlp.c_proj; empty means every row that is
    adapted somewhere. layers: empty means all of them.
    """

    names: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class SwitchOff(_Cells):
    """These cells are not adapted any more."""


@dataclass(frozen=True)
class SwitchOn(_Cells):
    """These cells are adapted, with the recipe's rank and alpha where they are not yet."""


@dataclass(frozen=True)
class SetRank(_Cells):
    """Those of the cells that are adapted get a rank of their own.

    keep_scale: their alpha follows, so that the factor on B·A stays as it is to the nearest whole alpha.
    """

    rank: int = 0
    keep_scale: bool = False


@dataclass(frozen=True)
class SetAlpha(_Cells):
    """Those of the cells that are adapted get an alpha of their own."""

    alpha: int = 0


MapEdit = SwitchOff | SwitchOn | SetRank | SetAlpha


def edit_map(edit: MapEdit, recipe: Recipe, skeleton: Skeleton) -> Wording:
    """The shortest settings that say the recipe's adapter with one edit, or why none do.

    Raises InvalidSettings and AdapterRefused, as the recipe's own plan does.
    """
    now = assignment_of(plan_adapter(recipe, skeleton))
    if not recipe.adapter:
        return Wording({}, "Without an adapter every module is trained; choose lora or qlora first.")
    sites = sites_of(recipe, skeleton)
    problem = _out_of_range(edit, sites.num_layers)
    if problem:
        return Wording({}, problem)
    cells = _cells(edit, now, sites.in_layers)
    if not cells:
        return Wording({}, _nothing_there(edit))
    wanted = _drawn(edit, now, cells, recipe)
    return word_assignment(wanted, recipe, skeleton)


def _out_of_range(edit: MapEdit, num_layers: int) -> str | None:
    outside = [layer for layer in edit.layers if not 0 <= layer < num_layers]
    if outside:
        return f"There is no layer {outside[0]}; this model has layers 0 to {num_layers - 1}."
    if isinstance(edit, SetRank) and not 1 <= edit.rank <= HIGHEST_RANK:
        return f"A rank must be between 1 and {HIGHEST_RANK:,}, got {edit.rank}."
    if isinstance(edit, SetAlpha) and not 1 <= edit.alpha <= HIGHEST_ALPHA:
        return f"An alpha must be between 1 and {HIGHEST_ALPHA:,}, got {edit.alpha}."
    return None


def _cells(edit: MapEdit, now: Assignment, in_layers: Sequence[Site]) -> tuple[str, ...]:
    """The paths of the cells that an edit is about."""
    rows = {site.slot for site in in_layers if site.path in now}
    chosen = (
        site
        for site in in_layers
        if (not edit.layers or site.layer in edit.layers)
        and (any(site.ends_with(name) for name in edit.names) if edit.names else site.slot in rows)
    )
    only_adapted = isinstance(edit, (SetRank, SetAlpha))
    return tuple(site.path for site in chosen if not only_adapted or site.path in now)


def _nothing_there(edit: MapEdit) -> str:
    named = ", ".join(edit.names) or "a module"
    if isinstance(edit, (SetRank, SetAlpha)):
        what = "rank" if isinstance(edit, SetRank) else "alpha"
        return f"No layer chosen here has {named} adapted, so there is no {what} to set."
    return f"No layer chosen here has {named} to adapt."


def _drawn(edit: MapEdit, now: Assignment, cells: Sequence[str], recipe: Recipe) -> Assignment:
    if isinstance(edit, SwitchOff):
        return {path: strength for path, strength in now.items() if path not in set(cells)}
    if isinstance(edit, SwitchOn):
        return {**{path: Strength(recipe.lora_r or 1, recipe.lora_alpha or 1) for path in cells}, **now}
    if isinstance(edit, SetAlpha):
        return {**now, **{path: Strength(now[path].r, edit.alpha) for path in cells}}
    changed = {path: _with_rank(now[path], edit, is_stabilised=recipe.peft_use_rslora) for path in cells}
    return {**now, **changed}


def _with_rank(strength: Strength, edit: SetRank, *, is_stabilised: bool) -> Strength:
    if not edit.keep_scale:
        return Strength(edit.rank, strength.alpha)
    growth = edit.rank / strength.r
    alpha = round(strength.alpha * (math.sqrt(growth) if is_stabilised else growth))
    return Strength(edit.rank, min(max(alpha, 1), HIGHEST_ALPHA))
