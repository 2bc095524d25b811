"""drive.py SCENARIO XENDM XENDM-WEB FOLDER - one scenario of run.sh. Its last line says what was seen, or what is wrong."""
import os, re, select, subprocess, sys, time
from browser import Browser, BrowserError

scenario, xendm, web, folder = sys.argv[1:]
pictures = os.path.join(folder, scenario)
# What a program that is killed leaves behind goes with the folder.
os.environ["TMPDIR"] = pictures
append = "console=ttyS0 quiet loglevel=0 nokaslr rdinit=/web.sh consoleblank=0 vga=normal nomodeset"


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


class Lines:
    """The lines that a process writes."""

    def __init__(self, stream, name):
        self.stream, self.name, self.rest, self.seen = stream, name, b"", []

    def expect(self, pattern, seconds):
        end = time.time() + seconds
        while True:
            while b"\n" in self.rest:
                line, self.rest = self.rest.split(b"\n", 1)
                text = line.decode(errors="replace").strip()
                print(f"{self.name}: {text}")
                self.seen.append(text)
                found = re.search(pattern, text)
                if found:
                    return found
            ready, _, _ = select.select([self.stream], [], [], max(0, end - time.time()))
            if not ready:
                raise Failure(f"{self.name}: no '{pattern}' within {seconds} s")
            piece = os.read(self.stream.fileno(), 65536)
            if not piece:
                raise Failure(f"{self.name}: ended before '{pattern}'")
            self.rest += piece


class Guest:
    """A device model, and the pages before it."""

    def __init__(self, arguments, environment=None):
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}, start_new_session=True)
        self.serial = Lines(self.process.stdout, "guest")
        self.errors = Lines(self.process.stderr, "program")

    def end(self, seconds=20):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            if self.end(10) is None:
                self.process.kill()
                self.process.wait()


def kernel(option):
    for disc in "ab":
        with open(f"{pictures}/{disc}.iso", "wb") as file:
            file.truncate(1 << 20)
    return [f"{option}cdrom", f"{pictures}/a.iso", f"{option}kernel", f"{folder}/vmlinuz", f"{option}initrd", f"{folder}/initrd", f"{option}append", append]


def web_server(*arguments):
    server = Guest([web, "--listen", "0", "--until-eof", *arguments])
    return server, server.serial.expect(r"xendm-web: (http://\S+)", 20)[1]


def is_gone(path_or_pid):
    if isinstance(path_or_pid, int):
        return not os.path.exists(f"/proc/{path_or_pid}")
    return not os.path.exists(path_or_pid)


def until(condition, seconds, what):
    end = time.time() + seconds
    while not condition():
        check(time.time() < end, what)
        time.sleep(0.1)


# The picture on noVNC's canvas beside the device model's own: how many pixels differ, and their sizes.
COMPARE = """(async () => {
  const canvas = window.guestScreen();
  const response = await fetch(location.pathname.replace('/guest/', '/api/guests/') + '/screen.png');
  if (!response.ok) return { error: await response.text() };
  const picture = await createImageBitmap(await response.blob(), { colorSpaceConversion: 'none' });
  const other = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
  other.drawImage(picture, 0, 0);
  const theirs = other.getImageData(0, 0, picture.width, picture.height).data, ours = canvas.data;
  let different = 0, lit = 0;
  for (let i = 0; i < theirs.length; i += 4) {
    if (ours[i] !== theirs[i] || ours[i + 1] !== theirs[i + 1] || ours[i + 2] !== theirs[i + 2]) different++;
    if (theirs[i] + theirs[i + 1] + theirs[i + 2]) lit++;
  }
  return { different, lit, ours: [canvas.width, canvas.height], theirs: [picture.width, picture.height] };
})()"""


def same_picture(browser):
    """Waits until what was drawn last has arrived, and compares."""
    end, seen = time.time() + 30, None
    while time.time() < end:
        seen = browser.evaluate(COMPARE)
        check("error" not in seen, f"no picture: {seen.get('error')}")
        if seen["ours"] == seen["theirs"] and seen["different"] == 0 and seen["lit"] > 100:
            return seen
        time.sleep(1)
    browser.screenshot(f"{pictures}/differs.png")
    raise Failure(f"the canvas is not the guest's screen: {seen}")


def main():
    browser = None
    started = []
    try:
        if scenario == "xendm":
            guest = Guest([xendm, "run", "--web", "--memory", "128M", *kernel("--")], {"XENDM_WEB": web})
            started.append(guest)
            address = guest.errors.expect(r"shown at (http://\S+)", 60)[1]
            title, page = "guest", "/guest/guest"
        elif scenario == "qemu":
            sockets = f"{folder}/{scenario}"
            guest = Guest(["qemu-system-x86_64", "-name", "Some name", "-m", "128", "-display", "none", "-serial", "stdio", "-vnc", f"unix:{sockets}/vnc", "-qmp", f"unix:{sockets}/q.qmp,server=on,wait=off", *kernel("-")])
            started.append(guest)
            until(lambda: os.path.exists(f"{sockets}/q.qmp"), 20, "QEMU listens")
            server, address = web_server("--dir", sockets)
            started.append(server)
            title, page = "Some name", "/guest/q"
        else:
            return two_guests(started)
        browser = Browser("chromium")
        browser.open(address)
        browser.wait("document.querySelectorAll('.card').length === 1", 30, "the list has the guest")
        browser.wait("document.querySelector('.card .state').textContent === 'running'", 30, "the list says that it runs")
        check("token" not in browser.evaluate("location.href"), "the token stays in the address")
        browser.wait("document.querySelector('.card img')?.naturalWidth > 300", 30, "the list has a small picture")
        browser.screenshot(f"{pictures}/{scenario}-list.png")
        browser.click(".card")
        browser.wait(f"location.pathname === '{page}'", 20, "the card leads to the page")
        browser.wait("document.querySelector('#screen').dataset.connected === 'true'", 60, "the screen is connected")
        guest.serial.expect("UP$", 120)
        check(browser.evaluate("document.querySelector('#title').textContent") == title, "the page does not have the guest's name")

        # Keys: a command in the shell on the screen, whose answer comes on the serial line.
        browser.click("#screen canvas")
        browser.type("echo Keys-42 abcdefghijklmnopqrstuvwxyz 0123456789\n")
        browser.type("cat /proc/version >/dev/ttyS0\n")
        guest.serial.expect("Linux version", 60)

        # The mouse: its packets come on the serial line, motion and a button.
        x, y = browser.place_of("#screen canvas")
        for step in range(8):
            browser.mouse("mouseMoved", x + 10 * step, y + 5 * step)
            time.sleep(0.1)
        guest.serial.expect(r"MOUSE [0-9a-f]8 (?!00 00)", 60)
        browser.mouse("mousePressed", x + 70, y + 35, "left", 1)
        guest.serial.expect(r"MOUSE [0-9a-f]9 ", 60)
        browser.mouse("mouseReleased", x + 70, y + 35, "left", 1)

        # The picture, at its size and fitted.
        seen = same_picture(browser)
        browser.screenshot(f"{pictures}/{scenario}-page.png")
        browser.click("#scale")
        same_picture(browser)
        browser.click("#scale")
        browser.size(400, 800)
        browser.wait("document.documentElement.scrollWidth <= 400", 10, "the page fits a narrow screen")
        browser.screenshot(f"{pictures}/{scenario}-narrow.png")
        browser.call("Emulation.clearDeviceMetricsOverride")

        # Buttons.
        browser.click("#ctrl-alt-del")
        guest.serial.expect("CTRL-ALT-DEL", 60)
        click_menu(browser, '[data-action="pause"]')
        browser.wait("document.querySelector('#state').textContent === 'paused'", 20, "Pause pauses")
        click_menu(browser, '[data-action="continue"]')
        browser.wait("document.querySelector('#state').textContent === 'running'", 20, "Continue continues")
        check_figures(browser)
        check_download(browser)
        change_cd(browser)
        click_menu(browser, '[data-action="reset"]')
        guest.serial.expect("UP$", 120)

        # The end: the page says so, and nothing is left.
        click_menu(browser, '[data-action="quit"]')
        check(guest.end() == 0, "Quit does not end the process")
        if scenario == "qemu":
            browser.wait("document.querySelector('#state').textContent === 'gone'", 20, "the page says that the guest is gone")
        else:
            browser.wait("document.querySelector('#message').textContent.includes('does not answer')", 20, "the page says that nobody answers")
        check(not browser.complaints(), f"the page complains: {browser.complaints()}")
        print(f"keys, mouse, buttons; canvas of {seen['ours'][0]}x{seen['ours'][1]} is the guest's screen to the pixel, {seen['lit']} of them lit")
    finally:
        if browser:
            try:
                browser.screenshot(f"{pictures}/{scenario}-end.png")
            except BrowserError:
                pass
            browser.close()
        for guest in reversed(started):
            guest.stop()


def click_menu(browser, selector):
    browser.evaluate(f"document.querySelector({selector!r}).closest('details').open = true")
    browser.wait(f"!document.querySelector({selector!r}).disabled", 20, f"{selector} can be clicked")
    browser.click(selector)


def check_figures(browser):
    figures = "Object.fromEntries([...document.querySelectorAll('#process dt')].map(t => [t.textContent, t.nextElementSibling.textContent]))"
    browser.wait(f"/^[0-9]+ %$/.test(({figures}).CPU)", 20, "CPU time is shown")
    check(re.match(r"^[0-9.]+ [MG]iB$", browser.evaluate(f"({figures}).Memory")), "memory is shown")
    if scenario == "qemu":
        return
    check("XenDM" in browser.evaluate(f"({figures}).Version"), "the version is shown")
    browser.wait("[...document.querySelectorAll('#devices tbody tr')].some(r => r.cells[0].textContent.startsWith('i8042') && Number(r.cells[3].textContent.replaceAll(',', '')) > 100)", 20, "the keyboard controller's accesses are shown")


def change_cd(browser):
    """Another disc by its path, then none. The drive that is chosen is the first with a disc."""
    drive = "document.querySelector('#drive').selectedOptions[0].text"
    browser.wait(f"{drive}.endsWith('/a.iso')", 20, "the CD is shown")
    browser.evaluate(f"document.querySelector('#file').value = '{pictures}/b.iso'")
    click_menu(browser, "#medium [type=submit]")
    browser.wait(f"{drive}.endsWith('/b.iso')", 20, "the CD is changed")
    click_menu(browser, "#eject")
    browser.wait(f"{drive}.endsWith(': empty')", 20, "the CD is ejected")


def check_download(browser):
    target = os.path.join(pictures, "downloads")
    os.makedirs(target, exist_ok=True)
    session, browser.session = browser.session, None
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=target)
    browser.session = session
    browser.click("#shot")
    until(lambda: any(f.endswith(".png") for f in os.listdir(target)), 20, "Screenshot downloads no picture")
    with open(os.path.join(target, [f for f in os.listdir(target) if f.endswith(".png")][0]), "rb") as file:
        check(file.read(8) == b"\x89PNG\r\n\x1a\n", "the screenshot is no PNG")


def two_guests(started):
    """A server over a folder: guests come and go; it ends with its input, and a guest's own server ends with the guest that is killed."""
    sockets = f"{folder}/{scenario}"
    for name in "ab":
        started.append(Guest([xendm, "run", "--serial", "null", "--qmp", f"{sockets}/{name}.qmp", "--vnc", f"unix:{sockets}/{name}.vnc", "--memory", "64M"]))
    server, address = web_server("--dir", sockets, "--guest", f"never={sockets}/never")
    started.append(server)
    browser = Browser("chromium")
    try:
        browser.open(address)
        states = "[...document.querySelectorAll('.card')].map(c => c.querySelector('.name').textContent.split(' ')[0] + ':' + c.querySelector('.state').textContent).join(' ')"
        browser.wait(f"{states} === 'never:gone a:running b:running'", 60, "the list has both guests")
        started[0].process.kill()
        started[0].process.wait()
        browser.wait(f"{states} === 'never:gone a:gone b:running'", 30, "a killed guest is gone")
        os.unlink(f"{sockets}/a.qmp")
        browser.wait(f"{states} === 'never:gone b:running'", 30, "a guest without a socket is not in the list")
        browser.screenshot(f"{pictures}/{scenario}.png")
        check(not browser.complaints(), f"the page complains: {browser.complaints()}")
        server.process.stdin.close()
        check(server.end() == 0, "xendm-web does not end with its input")

        own = Guest([xendm, "run", "--web", "--serial", "null", "--memory", "64M"], {"XENDM_WEB": web})
        started.append(own)
        own.errors.expect(r"shown at (http://\S+)", 60)
        children = open(f"/proc/{own.process.pid}/task/{own.process.pid}/children").read().split()
        every = [int(c) for t in os.listdir(f"/proc/{own.process.pid}/task") for c in open(f"/proc/{own.process.pid}/task/{t}/children").read().split()] or [int(c) for c in children]
        check(every, "xendm-web is not a child of xendm")
        own.process.kill()
        own.process.wait()
        until(lambda: all(is_gone(pid) or open(f"/proc/{pid}/stat").read().split(")")[1].split()[0] == "Z" for pid in every), 20, "xendm-web lives on when xendm is killed")
        print("guests come and go in the list; xendm-web ends with who started it")
    finally:
        browser.close()


try:
    main()
except (Failure, BrowserError, OSError) as e:
    print(e)
    sys.exit(1)
