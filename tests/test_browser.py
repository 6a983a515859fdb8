"""The built book in a real browser, headless Chromium: every page loads, whole, silent and on a narrow screen too; it
can be read by everyone, and what answers to the reader answers rightly.

tests/vendor/axe.min.js is axe-core as it is published (MPL 2.0): the checks need no network.
"""

import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urldefrag

import numpy as np
import pytest

from nssutils import settings
from nssutils.companion import claims, edition, printed, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES

pytestmark = pytest.mark.browser

AXE = (Path(__file__).with_name("vendor") / "axe.min.js").read_text()
NARROW, WIDE = 400, 1280  # pixels: a phone, a laptop
FLAGS = [
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--no-sandbox",  # the sandbox refuses to start as root, as in a container
]  # fmt: skip

# What a page shows and asks for, gathered inside the browser; addresses are absolute there.
FACTS = """
const all = (selector) => [...document.querySelectorAll(selector)];
return {
  links: all('a[href]').map(a => a.href),
  ids: all('[id], a[name]').map(e => e.id || e.name),
  broken: all('img').filter(i => !(i.complete && i.naturalWidth)).map(i => i.src),
  mute: all('img').filter(i => !i.alt.trim() || i.alt === i.getAttribute('src')).map(i => i.src),
  loaded: performance.getEntriesByType('resource').map(r => r.name),
  raw: document.querySelector('main').innerText.match(/(```|~~~|:::)\\{\\w+\\}|^:(name|alt):/m) || [],
  width: document.documentElement.scrollWidth,
  title: document.querySelector('h1') ? document.querySelector('h1').innerText : '',
  drawings: all('.drawing > svg').filter(s => !s.getAttribute('aria-label')).length,
  captions: all('figure.shown figcaption').map(c => c.innerText.replace(/^(Table|Fig\\.) \\S+/, ''))
    .filter(text => text.trim().split(/\\s+/).length > 30),
  nameless: all('.grid tbody tr').filter(r => !r.firstElementChild.matches('th[scope=row]')).length,
  open: all('article details[open]').length,
  injected: all('article pre').filter(p => p.innerText.startsWith('# Parameters')).length,
  weight: performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .reduce((sum, r) => sum + r.encodedBodySize, 0),
};
"""

# Every serious or critical finding of axe-core, as "rule: place".
AXE_RUN = """
const done = arguments[arguments.length - 1];
document.documentElement.dataset.theme = document.documentElement.dataset.mode = arguments[0];
const whole = { include: [['body']] };
axe.run(whole, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] })
  .then(({ violations }) => done(violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .flatMap(v => v.nodes.slice(0, 3).map(n => `${v.id}: ${n.target.join(' ')}`))))
  .catch(error => done([String(error)]));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Chromium with a profile of its own."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if not (browser and service):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    # A window cannot be made this narrow; the page can.
    wide(driver, NARROW)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


def wide(driver, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def pages(driver, built_book):
    """What each page of the book shows, by its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=built_book)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/"
        found = {}
        for file in sorted(set(built_book.glob("*.html")) - {built_book / "index.html"}):  # that sends on
            driver.get(base + file.name)
            errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
            found[driver.current_url] = driver.execute_script(FACTS) | {"base": base, "errors": errors}
        yield found
        server.shutdown()


def of_every_page(pages, fact):
    """{page: fact} of the pages where the fact is not empty."""
    return {page: facts[fact] for page, facts in pages.items() if facts[fact]}


def test_every_page_has_a_title(pages):
    assert len(pages) >= 3
    assert of_every_page(pages, "title").keys() == pages.keys()


def test_no_console_error(pages):
    assert of_every_page(pages, "errors") == {}


def test_no_broken_image(pages):
    assert of_every_page(pages, "broken") == {}


def test_every_image_has_alt_text(pages):
    assert of_every_page(pages, "mute") == {}


def test_every_drawing_says_what_it_shows(pages):
    assert of_every_page(pages, "drawings") == {}


def test_every_caption_is_read_in_a_breath(pages):
    assert of_every_page(pages, "captions") == {}


def test_every_row_has_a_head(pages):
    assert of_every_page(pages, "nameless") == {}


def test_what_is_folded_is_closed_and_parameters_are_shown_once(pages):
    assert of_every_page(pages, "open") == of_every_page(pages, "injected") == {}


def test_no_page_is_heavy(pages):
    assert {page: facts["weight"] for page, facts in pages.items() if facts["weight"] > 1_500_000} == {}


def test_the_first_address_has_a_title_and_a_language(pages, built_book):
    text = (built_book / "index.html").read_text()
    assert '<html lang="en">' in text and "<title>NeuSemSlice, executable</title>" in text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everyone_can_read_it(driver, pages, theme):
    found = {}
    for page in pages:
        driver.get(page)
        driver.execute_script(AXE)
        found[page.rpartition("/")[2]] = driver.execute_async_script(AXE_RUN, theme)
    assert {page: problems for page, problems in found.items() if problems} == {}


def test_no_table_is_cut_on_a_laptop(driver, pages):
    cut = {}
    wide(driver, WIDE)
    for page in pages:
        driver.get(page)
        cut[page.rpartition("/")[2]] = driver.execute_script(
            "return [...document.querySelectorAll('.shown-table > .grid')]"
            ".filter(g => g.scrollWidth > g.clientWidth + 1).map(g => g.parentElement.id)"
        )
    wide(driver, NARROW)
    assert {page: tables for page, tables in cut.items() if tables} == {}


def page_named(pages, name):
    return next(page for page in pages if page.endswith(f"/{name}.html"))


def opened(driver, page, has):
    """The page, once it is loaded whole and has what answers: the browser may come back before its scripts have run."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(page)
    ready = "return document.readyState === 'complete' && !!document.querySelector(arguments[0]);"
    WebDriverWait(driver, 60).until(lambda _: driver.execute_script(ready, has), f"{page} never has {has}")


def test_hovering_reads_what_the_results_have(driver, pages):
    opened(driver, page_named(pages, "rq1_slicing"), "#fig-5 select")
    read = driver.execute_script(
        """
        const figure = document.getElementById('fig-5'), svg = figure.querySelector('svg');
        const curves = JSON.parse(figure.querySelector('script.touch').textContent).curves;
        return curves.map(curve => {
          const [x, y] = curve.points[0];
          const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
          // Only this curve is left, so that the nearest point is its own.
          figure.querySelectorAll('input').forEach(box => {
            const mine = [curve.selection, curve.metric].includes(box.parentElement.innerText.trim());
            if (box.checked !== mine) box.click();
          });
          const event = { clientX: at.x, clientY: at.y, bubbles: true };
          figure.querySelector('.drawing').dispatchEvent(new PointerEvent('pointermove', event));
          return figure.querySelector('output').value;
        });
        """
    )
    found, shown = results.published("rq1_slicing"), 0
    for text in read:
        said = re.fullmatch(
            r"(.+?), (\S+?), (\S+), (?:theta|top) ([\d.]+)%?: ([\d.]+)% left out, accuracy ([\d.]+)%", text
        )
        if not said:  # NNSlicer's curve has no metric
            continue
        title, selection, metric, at, rate, accuracy = said.groups()
        at = float(at) if selection == "semantic" else float(at) / 100
        rows = [
            row
            for one in found
            if TITLES[one.setting] == title
            for row in one.tables["points"]
            if (row["method"], METRIC_TITLES[row["metric"]]) == (selection, metric) and np.isclose(row["at"], at)
        ]
        for value, column in ((rate, "compression_rate"), (accuracy, "accuracy")):
            assert float(value) == pytest.approx(100 * np.mean([row[column] for row in rows]), abs=0.0051)
        shown += 1
    assert shown >= 3 * 3 * 5


def test_a_switch_takes_a_curve_away_and_keys_read_on(driver, pages):
    opened(driver, page_named(pages, "rq1_slicing"), "#fig-5 select")
    left, text = driver.execute_script(
        """
        const figure = document.getElementById('fig-5');
        const label = [...figure.querySelectorAll('label')].find(each => each.innerText.trim() === 'global');
        label.querySelector('input').click();
        const parts = [...figure.querySelectorAll('[id*="-global-"]')].filter(p => p.style.display !== 'none');
        const drawing = figure.querySelector('.drawing');
        const press = key => drawing.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        press('ArrowRight'); press('ArrowRight'); press('ArrowDown');
        return [parts.length, figure.querySelector('output').value];
        """
    )
    assert left == 0
    assert "left out, accuracy" in text


def test_a_setting_fills_the_figure_and_is_read_alone(driver, pages):
    opened(driver, page_named(pages, "rq1_slicing"), "#fig-5 select")
    boxes, texts, colours = driver.execute_script(
        """
        const figure = document.getElementById('fig-5'), svg = figure.querySelector('svg');
        const choice = figure.querySelector('select'), drawing = figure.querySelector('.drawing');
        const press = key => drawing.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        const boxes = [], texts = [];
        for (const each of [...choice.options].slice(1)) {
          choice.value = each.value;
          choice.dispatchEvent(new Event('change'));
          boxes.push(svg.getAttribute('viewBox').split(' ').map(Number));
          for (let i = 0; i < 12; i++) {
            press('ArrowDown');
            texts.push([each.value, figure.querySelector('output').value]);
          }
        }
        choice.value = '';
        choice.dispatchEvent(new Event('change'));
        boxes.push(svg.getAttribute('viewBox').split(' ').map(Number));
        const named = [...figure.querySelectorAll('fieldset')][0].querySelectorAll('input');
        return [boxes, texts, [...named].map(box => box.style.accentColor)];
        """
    )
    *panels, whole = boxes
    assert len(panels) == len(settings.NAMES)
    for left, top, width, height in panels:
        assert left >= whole[0] - 5 and top >= whole[1] - 5 and 4 < whole[2] * whole[3] / (width * height) < 9
    for setting, text in texts:
        assert text.startswith(f"{setting}, ")
    assert len(set(colours)) == 4 and all(colours)  # a selection's switch has its curves' colour


# In the explorer: a layer chosen, theta set, everything that can be read then.
EXPLORE = """
const figure = document.getElementById('explorer'), [layer, level] = arguments;
const [select, slider] = figure.querySelectorAll('select, input');
const set = (control, value, event) => { control.value = value; control.dispatchEvent(new Event(event)); };
set(select, layer, 'change'); set(slider, level, 'input');
const drawing = figure.querySelector('.drawing');
drawing.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
return {
  layer: select.selectedOptions[0].text, theta: slider.getAttribute('aria-valuetext'),
  says: figure.querySelector('.explorer-says').value, reads: figure.querySelector('.explorer-reads').value,
  needed: [...figure.querySelectorAll('.needed')].map(text => text.textContent),
  overlap: [...figure.querySelectorAll('.overlap tbody tr')]
    .map(row => [...row.querySelectorAll('td')].map(cell => +cell.innerText)),
  cells: [...figure.querySelectorAll('.field path')].filter(p => p.style.display !== 'none')
    .reduce((sum, p) => sum + (p.getAttribute('d').match(/M/g) || []).length, 0),
};
"""


@pytest.mark.parametrize("level", [0, 5, 9])
def test_the_explorer_reads_what_the_results_have(driver, pages, level):
    one = results.published("explorer")[0]
    sliced = one.tables["slices"][level]
    names = list(dict.fromkeys(row["layer"] for row in one.tables["entries"]))
    opened(driver, page_named(pages, "explorer"), "#explorer select")
    for at, name in enumerate(names):
        read = driver.execute_script(EXPLORE, f"0 {at}", level)
        entries = [row["entry"] for row in one.tables["entries"] if row["layer"] == name]
        within = np.array([[letter != "-" and int(letter) <= level for letter in entry] for entry in entries])
        assert (read["layer"], read["theta"]) == (f"layer {at + 1}", f"theta {sliced['theta']:.2f}")
        assert read["needed"] == [f"{row.sum()} of {len(row)}" for row in within]
        assert read["cells"] == within.sum()
        shared = [[(row & other).sum() / (row | other).sum() for other in within] for row in within]
        assert np.abs(np.array(read["overlap"]) - 100 * np.array(shared)).max() <= 0.5 + 1e-9
        assert f"{within.any(0).sum()} are critical for some class and {within.all(0).sum()} for every" in read["says"]
        assert f"leaves out {100 * sliced['compression_rate']:.2f}%" in read["says"]
        assert f"accuracy {100 * sliced['accuracy']:.2f}%" in read["says"]
        neuron = int(re.match(r"Neuron (\d+): ", read["reads"])[1])
        needing = ", ".join(str(c) for c in range(len(within)) if within[c, neuron])
        assert f"critical now for {f'class {needing}' if needing else 'no class'}" in read["reads"]


def test_the_explorer_draws_what_the_page_showed_before_it(driver, pages):
    """The picture that needs no script, and the script's own at the same theta and layer."""
    page = page_named(pages, "explorer")
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    read = """
    const figure = document.getElementById('explorer');
    return ['.drawing', '.overlap'].map(part => figure.querySelector(part).innerText)
      .concat([...figure.querySelectorAll('.field path')].map(p => [p.getAttribute('d'), p.style.display].join()));
    """
    driver.get(page)
    before = driver.execute_script(read)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    opened(driver, page, "#explorer select")
    assert driver.execute_script(read) == before


def test_the_ledger_filters_and_sorts(driver, pages):
    opened(driver, page_named(pages, "claims"), ".claims-filter")
    rows, counted, first = driver.execute_script(
        """
        const form = document.querySelector('.claims-filter');
        const set = (name, value) => { form.elements[name].value = value; form.dispatchEvent(new Event('input')); };
        set('verdict', 'contradicted');
        const rows = [...document.querySelectorAll('.claims tbody tr')].filter(r => !r.hidden).length;
        const counted = form.elements.count.value;
        set('verdict', ''); set('order', 'verdict');
        return [rows, counted, document.querySelector('.claims tbody tr').dataset.verdict];
        """
    )
    overall = claims.overall(claims.ledger(claims.published()))["verdict"]
    assert rows == (overall == "contradicted").sum() and counted == f"{rows} of {len(overall)} claims"
    assert first == "reproduced"


def test_every_page_tells_its_edition(pages, built_book):
    for page in pages:
        assert edition.text() in (built_book / page.rpartition("/")[2]).read_text()


def test_on_paper_there_is_nothing_to_click_or_scroll(driver, pages):
    opened(driver, page_named(pages, "claims"), ".claims-filter")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    look = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    try:
        assert driver.execute_script(look, ".claims-filter", "display") == "none"
        opened(driver, page_named(pages, "contributing"), "pre")
        assert driver.execute_script(look, "pre", "white-space") == "pre-wrap"
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_page_can_be_printed(driver, built_book, tmp_path):
    (made,) = printed.pdfs(built_book, tmp_path / "pdf", ["explorer"])
    assert made.name == "00-explorer.pdf" and made.stat().st_size > 20_000


def test_no_directive_is_left_as_text(pages):
    """What is not understood as a directive is shown as it is written, without a warning."""
    assert of_every_page(pages, "raw") == {}


def test_no_page_is_wider_than_a_phone(pages):
    assert {page: facts["width"] for page, facts in pages.items() if facts["width"] > NARROW} == {}


def test_nothing_is_loaded_from_elsewhere(pages):
    """The book reads the same without a network."""
    assert [url for facts in pages.values() for url in facts["loaded"] if not url.startswith(facts["base"])] == []


def test_no_broken_link(pages, built_book):
    broken = []
    for page, facts in pages.items():
        for link in facts["links"]:
            if not link.startswith(facts["base"]):
                continue
            target, anchor = urldefrag(link)
            file = built_book / target.removeprefix(facts["base"]).partition("?")[0]
            if not file.exists() or (anchor and target in pages and anchor not in pages[target]["ids"]):
                broken.append((page, link))
    assert broken == []
