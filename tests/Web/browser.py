"""A headless Chromium, driven over a pipe by the DevTools protocol, with nothing but Python's own library."""
import base64, json, os, select, shutil, subprocess, tempfile, time


class BrowserError(Exception):
    pass


class Browser:
    def __init__(self, program, width=1400, height=900):
        self.folder = tempfile.mkdtemp(prefix="xendm-browser-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def place():
            # The protocol's pipe is on descriptors 3 (in) and 4 (out). First out of the way, since one may be the other's number.
            a, b = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-extensions", "--disable-sync", "--password-store=basic", f"--window-size={width},{height}", f"--user-data-dir={self.folder}/profile",
             "--remote-debugging-pipe", "about:blank"],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        self.input, self.output, self.buffer, self.serial = ours_in, ours_out, b"", 0
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.serial += 1
        message = {"id": self.serial, "method": method, "params": parameters}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.output, data):]
        end = time.time() + 60
        while True:
            reply = self.receive(end)
            if reply.get("id") == self.serial:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error']['message']}")
                return reply["result"]
            if "method" in reply:
                self.heard(reply)

    def heard(self, event):
        if event["method"] == "Page.javascriptDialogOpening":
            # Answered at once: a page with a question does nothing else.
            self.serial += 1
            os.write(self.output, json.dumps({"id": self.serial, "sessionId": self.session, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}).encode() + b"\0")
        self.events.append(event)

    def receive(self, end):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.input], [], [], max(0, end - time.time()))
            if not ready:
                raise BrowserError("the browser does not answer")
            piece = os.read(self.input, 1 << 20)
            if not piece:
                raise BrowserError("the browser has ended")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, url):
        result = self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise BrowserError(f"{url}: {result['errorText']}")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, expression, seconds, what):
        """Until the expression is true; its value."""
        end, last = time.time() + seconds, None
        while time.time() < end:
            try:
                value = self.evaluate(expression)
                if value:
                    return value
            except BrowserError as e:
                last = e
            time.sleep(0.1)
        raise BrowserError(f"{what}: not within {seconds} s{f' ({last})' if last else ''}")

    def place_of(self, selector):
        """Middle of an element, in pixels of the page."""
        return self.evaluate(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoViewIfNeeded(); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()")

    def mouse(self, kind, x, y, button="none", clicks=0):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=1 if kind == "mousePressed" else 0, clickCount=clicks)

    def click(self, selector):
        x, y = self.place_of(selector)
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, "left", 1)
        self.mouse("mouseReleased", x, y, "left", 1)

    def key(self, key, code, number, text=None, modifiers=0):
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, code=code, windowsVirtualKeyCode=number, modifiers=modifiers, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code, windowsVirtualKeyCode=number, modifiers=modifiers)

    def type(self, text):
        """Strokes of a US keyboard."""
        codes = {" ": ("Space", 32), "\n": ("Enter", 13), "-": ("Minus", 189), "/": ("Slash", 191), ".": ("Period", 190), ">": ("Period", 190), "=": ("Equal", 187)}
        for c in text:
            shifted = c.isupper() or c == ">"
            if c.isdigit():
                code, number = f"Digit{c}", ord(c)
            elif c.isalpha():
                code, number = f"Key{c.upper()}", ord(c.upper())
            else:
                code, number = codes[c]
            if shifted:
                self.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Shift", code="ShiftLeft", windowsVirtualKeyCode=16, modifiers=8, location=1)
            self.key("Enter" if c == "\n" else c, code, number, "\r" if c == "\n" else c, 8 if shifted else 0)
            if shifted:
                self.call("Input.dispatchKeyEvent", type="keyUp", key="Shift", code="ShiftLeft", windowsVirtualKeyCode=16, location=1)
            time.sleep(0.03)

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def complaints(self):
        """What the page's scripts and policies have complained about."""
        found = []
        for event in self.events:
            entry = event.get("params", {}).get("entry", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Log.entryAdded" and entry["source"] in ("security", "violation") and entry["level"] == "error":
                found.append(entry["text"])
        return found

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.input)
        os.close(self.output)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
