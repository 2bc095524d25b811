// A guest's page: its screen by noVNC, buttons, and counters that are asked for once a second while the page is seen.
import RFB from '/novnc/core/rfb.js';
import { get, post, picture } from '/assets/api.js';
import { combinations, send, type } from '/assets/keys.js';

const refreshMilliseconds = 1000;
const firstRetryMilliseconds = 500;
const longestRetryMilliseconds = 8000;
const name = decodeURIComponent(location.pathname.split('/')[2]);
const api = `/api/guests/${encodeURIComponent(name)}`;
const element = id => document.getElementById(id);
const screen = element('screen');
let rfb = null;
let connected = false;
let gone = false;
let retryMilliseconds = firstRetryMilliseconds;
let before = null;

element('title').textContent = name;
document.title = name;

// --- the screen

function connect() {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  rfb = new RFB(screen, `${scheme}://${location.host}${api}/vnc`);
  rfb.scaleViewport = element('scale').getAttribute('aria-pressed') === 'true';
  rfb.clipViewport = !rfb.scaleViewport;
  rfb.dragViewport = false;
  rfb.addEventListener('connect', () => {
    connected = true;
    retryMilliseconds = firstRetryMilliseconds;
    screen.dataset.connected = 'true';
    tell('screen', '');
    rfb.focus();
  });
  rfb.addEventListener('disconnect', () => {
    connected = false;
    rfb = null;
    delete screen.dataset.connected;
    tell('screen', gone ? '' : 'The screen is not connected; trying again.');
    setTimeout(connectWhenThere, retryMilliseconds);
    retryMilliseconds = Math.min(retryMilliseconds * 2, longestRetryMilliseconds);
  });
  rfb.addEventListener('credentialsrequired', event => askCredentials(event.detail.types));
  rfb.addEventListener('securityfailure', event => tell('security', `The VNC server refuses: ${event.detail.reason ?? 'wrong password'}`));
  rfb.addEventListener('clipboard', event => { element('text').value = event.detail.text; });
}

function connectWhenThere() {
  if (gone) setTimeout(connectWhenThere, refreshMilliseconds);
  else connect();
}

function askCredentials(types) {
  const dialog = element('credentials');
  for (const field of ['username', 'password']) element(field).hidden = element(`${field}-label`).hidden = !types.includes(field);
  dialog.onclose = () => {
    if (dialog.returnValue === 'ok') {
      tell('security', '');
      rfb?.sendCredentials({ username: element('username').value, password: element('password').value });
    } else {
      rfb?.disconnect();
      retryMilliseconds = longestRetryMilliseconds;
    }
    element('password').value = '';
  };
  dialog.showModal();
}

// --- messages, one for each subject

const messages = new Map();

function tell(subject, text) {
  if (text) messages.set(subject, text);
  else messages.delete(subject);
  element('message').textContent = [...messages.values()].join(' ');
  element('message').hidden = messages.size === 0;
}

async function attempt(work) {
  try {
    await work();
    tell('command', '');
    await refresh();
  } catch (error) {
    tell('command', error.message);
  }
}

// --- buttons

for (const button of document.querySelectorAll('[data-action]')) {
  button.addEventListener('click', () => {
    button.closest('details').open = false;
    if (button.dataset.ask && !confirm(button.dataset.ask)) return;
    attempt(() => post(`${api}/power/${button.dataset.action}`));
  });
}

for (const [label, keys] of combinations) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = label;
  button.addEventListener('click', () => {
    button.closest('details').open = false;
    if (connected) send(rfb, keys);
    rfb?.focus();
  });
  element('keys').append(button);
}

element('ctrl-alt-del').addEventListener('click', () => {
  if (connected) rfb.sendCtrlAltDel();
  rfb?.focus();
});

element('scale').addEventListener('click', event => {
  const fit = event.currentTarget.getAttribute('aria-pressed') !== 'true';
  event.currentTarget.setAttribute('aria-pressed', `${fit}`);
  if (!rfb) return;
  rfb.scaleViewport = fit;
  rfb.clipViewport = !fit;
});

element('full').addEventListener('click', async () => {
  try {
    await screen.requestFullscreen();
    // Where the browser has it, keys such as Alt-Tab and Esc go to the guest; Esc held down leaves.
    await navigator.keyboard?.lock?.();
  } catch (error) {
    tell('command', `No full screen: ${error.message}`);
  }
  rfb?.focus();
});

element('shot').addEventListener('click', () => attempt(async () => {
  const blob = await screenshot();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name}-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}));

// The device model's own picture; where it may write no files, what the browser has.
async function screenshot() {
  try {
    return await picture(`${api}/screen.png`);
  } catch (error) {
    if (!connected) throw error;
    return new Promise((resolve, reject) => rfb.toBlob(blob => (blob ? resolve(blob) : reject(error)), 'image/png'));
  }
}

element('type').addEventListener('click', async () => {
  if (!connected) return;
  element('text').closest('details').open = false;
  await type(rfb, element('text').value);
  rfb?.focus();
});

element('paste').addEventListener('click', () => {
  element('text').closest('details').open = false;
  rfb?.clipboardPasteFrom(element('text').value);
  rfb?.focus();
});

function changeMedium(file) {
  element('medium').closest('details').open = false;
  attempt(() => post(`${api}/medium`, { drive: element('drive').value, file, force: element('force').checked }));
}

element('medium').addEventListener('submit', event => {
  event.preventDefault();
  if (element('file').value) changeMedium(element('file').value);
});

element('eject').addEventListener('click', () => changeMedium(null));

// One menu at a time; Escape and a click beside it close it.
for (const menu of document.querySelectorAll('.menu')) {
  menu.addEventListener('toggle', () => {
    if (!menu.open) return;
    for (const other of document.querySelectorAll('.menu[open]')) if (other !== menu) other.open = false;
  });
  menu.addEventListener('keydown', event => {
    if (event.key !== 'Escape') return;
    menu.open = false;
    menu.querySelector('summary').focus();
  });
}

document.addEventListener('pointerdown', event => {
  for (const menu of document.querySelectorAll('.menu[open]')) if (!menu.contains(event.target)) menu.open = false;
}, true);

// --- counters

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit++;
  }
  return `${count.toFixed(unit === 0 || count >= 100 ? 0 : 1)} ${units[unit]}`;
}

const number = count => Math.round(count).toLocaleString('en');

// Increase per second of what read() finds in this report and the last; 0 where there is none, or the counter began again.
function rate(report, read) {
  const old = before && read(before.report);
  if (old === null || old === undefined) return 0;
  return Math.max(0, (read(report) - old) * 1000 / (report.time - before.report.time));
}

function fill(table, rows) {
  element(table).tBodies[0].replaceChildren(...rows.map(([text, ...cells]) => {
    const row = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = text;
    row.append(head, ...cells.map(cell => {
      const data = document.createElement('td');
      data.textContent = cell;
      return data;
    }));
    return row;
  }));
}

function showFigures(report) {
  const rows = [];
  if (report.process) {
    rows.push(['CPU', before?.report.process?.pid === report.process.pid ? `${(rate(report, r => r.process?.cpuMilliseconds) / 10).toFixed(0)} %` : '']);
    rows.push(['Memory', bytes(report.process.memoryBytes)]);
    rows.push(['Process', report.process.pid]);
  }
  if (report.io) {
    rows.push(['Requests/s', number(rate(report, r => r.io?.requests))]);
    rows.push(['Requests', number(report.io.requests)]);
    rows.push(['Unanswered', number(report.io.unclaimed)]);
  }
  if (report.version) rows.push(['Version', report.version]);
  element('process').replaceChildren(...rows.flatMap(([term, text]) => {
    const dt = document.createElement('dt');
    dt.textContent = term;
    const dd = document.createElement('dd');
    dd.textContent = text;
    return [dt, dd];
  }));
  const drive = id => r => r.drives.find(d => d.id === id);
  fill('drives', report.drives.map(d => [
    d.id,
    bytes(rate(report, r => drive(d.id)(r)?.readBytes)),
    bytes(rate(report, r => drive(d.id)(r)?.writtenBytes)),
  ]));
  element('io').hidden = !report.io;
  if (!report.io) return;
  const device = id => r => r.io?.devices.find(d => d.name === id);
  fill('devices', report.io.devices.map(d => [
    d.name,
    number(rate(report, r => device(d.name)(r)?.reads)),
    number(rate(report, r => device(d.name)(r)?.writes)),
    number(d.reads + d.writes),
  ]));
}

function showDrives(report) {
  const drives = report.drives.filter(d => d.removable);
  const select = element('drive');
  const wanted = drives.map(d => `${d.id}: ${d.file ?? 'empty'}${d.locked ? ' (locked)' : ''}`);
  if ([...select.options].map(o => o.text).join('\n') !== wanted.join('\n')) {
    const chosen = select.value;
    select.replaceChildren(...drives.map((d, n) => new Option(wanted[n], d.id, false, d.id === chosen)));
  }
  for (const control of element('medium').elements) control.disabled = drives.length === 0;
}

async function refresh() {
  const report = await get(api);
  report.time = performance.now();
  gone = report.state === 'gone' || report.state === 'silent';
  element('title').textContent = report.title;
  document.title = `${report.title} - ${report.state}`;
  element('state').textContent = report.state;
  element('state').dataset.state = report.state;
  tell('state', gone ? report.reason : '');
  for (const button of document.querySelectorAll('[data-action]')) button.disabled = gone;
  document.querySelector('[data-action="pause"]').disabled ||= report.state !== 'running';
  document.querySelector('[data-action="continue"]').disabled ||= report.state === 'running';
  showFigures(report);
  showDrives(report);
  before = { report };
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      try {
        await refresh();
        tell('server', '');
      } catch (error) {
        gone = true;
        element('state').textContent = error.status === 404 ? 'gone' : 'unknown';
        element('state').dataset.state = 'gone';
        tell('server', error.message);
      }
    }
    await new Promise(resolve => setTimeout(resolve, refreshMilliseconds));
  }
}

async function offerMedia() {
  const files = await get('/api/media').catch(() => []);
  element('media').replaceChildren(...files.map(file => new Option('', file)));
}

// For test programs, which compare what is on the canvas with the guest's screen.
window.guestScreen = () => (connected ? rfb.getImageData() : null);

connect();
offerMedia();
run();
