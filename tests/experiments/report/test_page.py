"""The page in a real headless Chromium: sorted, filtered, searched, at a phone's width, printed."""

from __future__ import annotations

import base64
import json
import shutil
import time

import pytest

from hauberk.experiments.report.benchmark_report import ReportMeta
from hauberk.experiments.report.write import write_report
from tests.helpers.bench_frames import benchmark_frames, with_status

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on this machine"),
    pytest.mark.xdist_group("chromium"),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)
PATIENCE = 30  # seconds, for a machine that is busy


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    cells, rounds = benchmark_frames(
        rules=("fedavg", "median", "krum", "dim_krum"), models=("text_cnn", "gru")
    )
    cells = with_status(cells, "failed", "killed: needs 2 GB", rule="krum", attack="bad_word", model="gru")
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(cells, rounds, ReportMeta("small", "hauberk bench small.toml"), html=path)
    return path.as_uri(), len(cells)


@pytest.fixture
def page(browser, report):
    """The page, just opened at a desk's width, its table ready."""
    show(browser, 1280)
    browser.get("about:blank")
    browser.get_log("performance")  # a log is emptied by reading it
    browser.get(report[0])
    wait(browser, "return document.documentElement.dataset.ready === 'true'")
    return browser


def show(browser, width, scheme="light"):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait(browser, script):
    end = time.monotonic() + PATIENCE
    while not browser.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def column(browser, heading):
    """The texts of a column's shown cells."""
    return browser.execute_script(
        """const place = [...document.querySelectorAll('#cells thead th')]
             .findIndex((one) => one.innerText.trim().startsWith(arguments[0]));
           return [...document.querySelectorAll('#cells tbody tr')].map((row) => row.children[place]?.innerText)""",
        heading,
    )


def heading(browser, text):
    return next(
        one for one in browser.find_elements("css selector", "#cells thead th") if one.text.startswith(text)
    )


def click(browser, element):
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", element)
    element.click()


def shown(browser):
    """What the table says of how many rows there are."""
    return browser.find_element("css selector", ".dt-info").text


def test_it_opens_without_an_error_and_asks_no_network(page, report):
    requests = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = {
        one["params"]["request"]["url"] for one in requests if one["method"] == "Network.requestWillBeSent"
    }
    assert {url.split(":")[0] for url in urls} <= {"file", "blob", "data"}
    assert report[0] in urls
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_click_on_a_heading_sorts_by_number(page):
    sort = heading(page, "accuracy").find_element("css selector", ".dt-column-title")
    click(page, sort)
    up = [float(text) for text in column(page, "accuracy") if text != "-"]
    click(page, sort)
    down = [float(text) for text in column(page, "accuracy") if text != "-"]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert max(down) > max(up)


def test_a_heading_s_menu_filters_by_its_values(page, report):
    click(page, heading(page, "attack").find_element("css selector", ".dtcc-button_dropdown"))
    choices = page.find_elements("css selector", ".dtcc-list-buttons .dtcc-button")
    assert [one.text for one in choices] == [
        "bad_sentence",
        "bad_word",
        "embedding_poisoning",
        "none",
        "syntactic",
    ]
    click(page, choices[1])
    assert set(column(page, "attack")) == {"bad_word"}
    assert f"of {report[1] // 5} entries" in shown(page)


def test_the_search_looks_in_all_columns(page):
    page.find_element("css selector", ".dt-search input").send_keys("needs 2 GB")
    wait(page, "return document.querySelectorAll('#cells tbody tr').length === 3")
    assert set(column(page, "status")) == {"failed"}


def test_hidden_columns_can_be_shown(page):
    assert "command" not in [one.text for one in page.find_elements("css selector", "#cells thead th")]
    click(page, page.find_element("css selector", ".buttons-colvis"))
    click(
        page,
        next(
            one
            for one in page.find_elements("css selector", ".dt-button-collection *")
            if one.text == "command"
        ),
    )
    assert heading(page, "command").is_displayed()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_never_wider_than_the_screen(page, width):
    show(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") == width


def test_no_text_of_a_figure_is_cut_off(page):
    page.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.find_elements("css selector", "svg text")
    cut = page.execute_script(
        """const cut = [];
           for (const svg of document.querySelectorAll('svg'))
             for (const text of svg.querySelectorAll('text')) {
               const [inner, outer] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
               if (inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1)
                 cut.push(text.textContent);
             }
           return cut"""
    )
    assert cut == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_cell_of_a_heat_map(page, scheme):
    show(page, 1280, scheme)
    ratios = page.execute_script(
        """const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
           const light = (colour) => {
             canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
             const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((one) => one / 255)
               .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
             return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
           };
           return [...document.querySelectorAll('.cell.finished')].map((cell) => {
             const pair = ['rect', 'text'].map((name) => light(getComputedStyle(cell.querySelector(name)).fill));
             return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
           })"""
    )
    assert len(ratios) > 100
    assert min(ratios) > 4.5


def test_paper_has_every_row_and_what_is_folded(page, report):
    page.execute_script(
        "window.printed = null; addEventListener('beforeprint', () => { window.printed = ["
        "document.querySelectorAll('#cells tbody tr').length, "
        "document.querySelectorAll('details:not([open])').length] })"
    )
    paper = page.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(paper).startswith(b"%PDF")
    assert page.execute_script("return window.printed") == [report[1], 0]
    wait(page, "return document.querySelectorAll('#cells tbody tr').length === 25")
