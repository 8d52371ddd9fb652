"""The files of a report card: its JSON, and a page of tables, pictures and a headline from its figures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from slimtable.artifact.card import card_paths
from slimtable.artifact.ledger import KINDS
from slimtable.compress.report import ReportCard
from slimtable.compress.report_figures import draw_frontier, draw_ledger
from slimtable.files import replace_file, write_json
from slimtable.reporting.figures import to_png
from slimtable.reporting.page import draw_image, draw_table, html_page, running_text
from slimtable.reporting.tables import ABSENT, Table

Facts = Mapping[str, Any]

_CODEBOOKS = 32  # of a group that the page lists; the JSON file has all
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def write_report_card(card: ReportCard, file: str | Path) -> tuple[Path, Path]:
    """Writes a card beside its artifact, atomically.

    Args:
        card: the card.
        file: the artifact.

    Returns:
        The JSON file and the page.
    """
    json_path, page_path = card_paths(file)
    page = card_page(card).encode()
    write_json(json_path, {"headline": headline(card.facts), **card.facts})
    with replace_file(page_path) as opened:
        opened.write(page)
    return json_path, page_path


def card_page(card: ReportCard) -> str:
    """The page of a card; holds everything that it shows."""
    facts = card.facts
    parts = [
        f"<h1>Report card of {escape(facts['file'])}</h1>",
        f'<p class="headline">{running_text(headline(facts))}</p>',
        _drawn(quality_table(facts)),
    ]
    if facts["held_out"] is not None:
        parts.append(_drawn(held_out_table(facts)))
    if facts["result"] is not None:
        parts += _result_parts(facts)
    parts += [
        "<h2>Where the bytes go</h2>",
        draw_image(to_png(draw_ledger(facts)), "bytes of the file by purpose"),
        draw_table(ledger_table(facts)),
    ]
    for name, content in card.maps.items():
        parts.append(f"<h2>Rows of {escape(name)}, before and after</h2>")
        parts.append(draw_image(content, f"maps of the rows of table {name}, uncompressed and compressed"))
        parts.append(f'<p class="note">{running_text(_MAP_NOTE)}</p>')
    for name, table in facts["tables"].items():
        parts += _health_parts(name, table["code_health"])
    return html_page(f"Report card of {facts['file']}", "\n".join(parts))


_MAP_NOTE = (
    "A sample of rows. Colours are clusters of the uncompressed rows. Above, both tables in the plane of the first two "
    "principal components of the uncompressed one; below, t-SNE of both tables together, so that a row that has hardly "
    "moved is at the same place left and right. Rows that collapse onto each other have lost what set them apart."
)


def headline(facts: Facts) -> str:
    """A summary of a card in one or two sentences."""
    text = (
        f"{', '.join(facts['tables'])}: {facts['compression_ratio']:.1f}× smaller, {readable(facts['file_bytes'])} "
        f"instead of {readable(facts['float32_bytes'])}"
    )
    kept = {} if facts["result"] is None else facts["result"]["report"]
    if kept:
        measure, share = next(iter(kept.items()))
        text += (
            f". Keeps {_percent(share['share'])} of {measure} (95 % interval {_percent(share['low'])} to "
            f"{_percent(share['high'])})"
        )
    else:
        lists = {name: table["lists"] for name, table in facts["tables"].items() if table.get("lists")}
        told = [
            f"{_percent(each['kept'])} of the {each['length']} best rows of {name} stay the best"
            for name, each in lists.items()
        ]
        text += f". {'; '.join(told)}" if told else ""
    return f"{text}."


def quality_table(facts: Facts) -> Table:
    """One line per table: size, error, lists by popularity, neighbours, coverage and Gini."""
    columns = (
        "table",
        "method",
        "smaller",
        "bits a dimension",
        "relative error",
        "best rows kept",
        "head",
        "torso",
        "tail",
        "neighbours kept",
        "coverage",
        "Gini",
    )
    rows = []
    for name, table in facts["tables"].items():
        lists = table.get("lists") or {}
        groups = lists.get("by_group", {})
        near = table.get("neighbours_kept")
        rows.append(
            (
                f"{name} {table['num_embeddings']:,} × {table['embedding_dim']}",
                table["method"] or table["layout"],
                f"{table['compression_ratio']:.2f}×",
                f"{table['bits_per_dimension']:.3f}",
                f"{table['relative_error']:.4f}" if "relative_error" in table else ABSENT,
                f"{_percent(lists['kept'])} ± {100 * lists['error']:.1f}" if lists else ABSENT,
                *(_percent(groups[group]) if group in groups else ABSENT for group in ("head", "torso", "tail")),
                ABSENT if near is None else _percent(near),
                _before_after(lists["coverage"], 100, " %") if lists else ABSENT,
                _before_after(lists["gini"], 1, "") if lists else ABSENT,
            )
        )
    return Table("Quality of the tables", columns, tuple(rows), _quality_note(facts))


def held_out_table(facts: Facts) -> Table:
    """The measures of the task and the hits by popularity, before and after."""
    held_out = facts["held_out"]
    lines = [*held_out["measures"].items()]
    lines += [(f"hits in {group}", pair) for group, pair in held_out["by_group"].items()]
    rows = tuple(
        (
            name,
            f"{pair['uncompressed']:.4f}",
            f"{pair['compressed']:.4f}",
            _percent(pair["compressed"] / pair["uncompressed"]) if pair["uncompressed"] else ABSENT,
        )
        for name, pair in lines
    )
    note = (
        f"{held_out['users']:,} users on whom nothing was chosen. Hits: share of the held-out items among the first 20 "
        "of their user; head, torso and tail: the most frequent 10 % of the items, the next 40 % and the rest."
    )
    return Table("Quality on held-out items", ("measure", "uncompressed", "compressed", "kept"), rows, note)


def ledger_table(facts: Facts) -> Table:
    """Bytes by purpose, a column per table; the last line is the size of the file."""
    names = list(facts["tables"])
    found: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for entry in facts["ledger"]:
        found[entry["kind"]][entry["table"]] = entry["bytes"]
    kinds = [kind for kind in KINDS if found[kind]]
    rows = [
        (
            kind,
            *(_bytes(found[kind].get(name, 0)) for name in [*names, ""]),
            _bytes(sum(found[kind].values())),
            f"{100 * sum(found[kind].values()) / facts['file_bytes']:.2f} %",
        )
        for kind in kinds
    ]
    sums = [sum(found[kind].get(name, 0) for kind in kinds) for name in [*names, ""]]
    rows.append(("file", *map(_bytes, sums), _bytes(sum(sums)), "100.00 %"))
    note = "; ".join(f"{kind}: {KINDS[kind]}" for kind in kinds)
    columns = ("purpose", *names, "rest", "bytes", "share")
    return Table("Where the bytes go", columns, tuple(rows), f"{note}.")


def readable(count: float) -> str:
    """A number of bytes with a unit.

    Example:
        >>> readable(999), readable(1_133_183)
        ('999 bytes', '1.1 MB')
    """
    power = 0
    while count >= 1000 and power < len(_UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{count:,.1f} {_UNITS[power]}" if power else f"{count:,.0f} {_UNITS[0]}"


def _drawn(table: Table) -> str:
    return f"<h2>{escape(table.title)}</h2>\n{draw_table(table)}"


def _result_parts(facts: Facts) -> list[str]:
    """Why this was chosen: measures, reasons, frontier and candidates."""
    result = facts["result"]
    parts = ["<h2>Why it was compressed so</h2>"]
    if result["report"]:
        rows = tuple(
            (measure, _percent(kept["share"]), f"{_percent(kept['low'])} to {_percent(kept['high'])}")
            for measure, kept in result["report"].items()
        )
        note = f"Measured on queries that did not choose. Candidates were judged by {result['guard']['description']}."
        parts.append(draw_table(Table("", ("measure", "kept", "95 % interval"), rows, note)))
    if result["reasons"]:
        parts.append("<ul>" + "".join(f"<li>{running_text(reason)}</li>" for reason in result["reasons"]) + "</ul>")
    frontier = draw_frontier(facts)
    if frontier is not None:
        parts.append(draw_image(to_png(frontier), "quality of the candidates against their size"))
    if result["candidates"]:
        parts.append(_drawn(_candidate_table(facts)))
    return parts


def _candidate_table(facts: Facts) -> Table:
    result = facts["result"]
    measures = list(dict.fromkeys(name for candidate in result["candidates"] for name in candidate["kept"]))
    rows = []
    for number, candidate in enumerate(result["candidates"], start=1):
        choices = f"{number}. " + "; ".join(_choice_text(name, choice) for name, choice in candidate["tables"].items())
        kept = candidate["kept"]
        rows.append(
            (
                choices,
                "chosen" if candidate["chosen"] else "",
                f"{candidate['bytes']:,}",
                f"{facts['float32_bytes'] / candidate['bytes']:.2f}×",
                *(_kept_text(kept[name]) if name in kept else ABSENT for name in measures),
                candidate["reason"],
            )
        )
    return Table("Candidates", ("tables", "", "bytes", "smaller", *measures, "reason"), tuple(rows))


def _choice_text(name: str, choice: Facts) -> str:
    options = ";".join(f"{option}={value}" for option, value in choice["config"].items())
    return f"{name}: {choice['method']}" + (f"[{options}]" if options else "")


def _kept_text(kept: Facts) -> str:
    return f"{_percent(kept['share'])} ({100 * kept['low']:.1f} to {100 * kept['high']:.1f})"


def _health_parts(name: str, health: Facts) -> list[str]:
    """The code health of a table; nothing if it has no codes of centroids."""
    parts = [f'<p class="note"><strong>{running_text(text)}</strong></p>' for text in health["warnings"]]
    for group in health["groups"]:
        title = f"Code health of {name}" + (f", {group['name']}" if group["name"] else "")
        rows = tuple(
            (
                book["name"],
                f"{book['codebook_size']:,}",
                _percent(book["used_fraction"]),
                f"{book['dead']:,}",
                f"{book['perplexity']:,.1f}",
                f"{book['entropy_ratio']:.4f}",
                f"{100 * book['largest_bucket']:.2f} %",
            )
            for book in group["codebooks"][:_CODEBOOKS]
        )
        note = (
            f"{100 * group['no_collision_rate']:.2f} % of {group['num_ids']:,} ids have a code tuple of their own; the "
            f"most frequent tuple belongs to {group['largest_collision']:,} ids."
        )
        left = len(group["codebooks"]) - len(rows)
        note += f" {left:,} more codebooks are in the JSON file." if left else ""
        columns = ("codebook", "centroids", "used", "dead", "perplexity", "entropy ratio", "largest bucket")
        parts.append(_drawn(Table(title, columns, rows, note)))
    return parts


def _quality_note(facts: Facts) -> str:
    lists = [(name, table["lists"]) for name, table in facts["tables"].items() if table.get("lists")]
    told = [
        f"{name}: lists of the {each['length']} best rows for {each['queries']:,} rows of {each['asking']}"
        for name, each in lists
    ]
    return (
        f"{'; '.join(told) or 'No lists'}. Best rows kept: share of the uncompressed lists that the compressed ones "
        "hold, with the 95 % interval; head, torso and tail: the same for the most frequent 10 % of the ids, the next "
        "40 % and the rest, where lists hold any. Coverage: share of the rows in any list. Gini: inequality of how "
        "often rows are in lists. Both before → after. Neighbours kept: share of the 10 nearest rows by cosine."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _before_after(pair: Facts, factor: float, unit: str) -> str:
    digits = 1 if factor > 1 else 3
    before, after = factor * pair["uncompressed"], factor * pair["compressed"]
    return f"{before:.{digits}f} → {after:.{digits}f}{unit}"


def _bytes(count: float) -> str:
    """Bytes with the eighths of a bit stream that ends within a byte; empty for none."""
    if not count:
        return ""
    return f"{int(count):,}" if count == int(count) else f"{count:,.3f}"
