"""The built book in a real browser, headless Chromium: every page loads, whole, silent and on a narrow screen too."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urldefrag

import pytest

pytestmark = pytest.mark.browser

NARROW = 400  # pixels: a phone
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
};
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
    metrics = {"width": NARROW, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield driver
    driver.quit()


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
