// The list of guests: name, state and a small picture of each screen, while somebody looks at the page.
import { get, picture } from '/assets/api.js';

const refreshMilliseconds = 3000;
const list = document.getElementById('guests');
const message = document.getElementById('message');
const cards = new Map();

function makeCard(name) {
  const item = document.createElement('li');
  const link = document.createElement('a');
  link.className = 'card';
  link.href = `/guest/${encodeURIComponent(name)}`;
  const frame = document.createElement('div');
  frame.className = 'picture';
  const caption = document.createElement('div');
  caption.className = 'caption';
  const title = document.createElement('span');
  title.className = 'name';
  const state = document.createElement('span');
  state.className = 'state';
  caption.append(title, state);
  link.append(frame, caption);
  item.append(link);
  return { item, frame, title, state, url: null };
}

async function showPicture(card, guest) {
  const there = guest.state !== 'gone' && guest.state !== 'silent';
  let blob = null;
  let reason = guest.reason;
  if (there) {
    try {
      blob = await picture(`/api/guests/${encodeURIComponent(guest.name)}/screen.png`);
    } catch {
      reason = 'no picture';
    }
  }
  const old = card.url;
  card.url = blob ? URL.createObjectURL(blob) : null;
  if (card.url) {
    const image = new Image();
    image.alt = `Screen of ${guest.title}`;
    image.src = card.url;
    card.frame.replaceChildren(image);
    await image.decode().catch(() => {});
  } else {
    card.frame.textContent = there ? reason : guest.state === 'gone' ? 'gone' : 'no answer';
    card.frame.title = reason;
  }
  if (old) URL.revokeObjectURL(old);
}

async function refresh() {
  const guests = await get('/api/guests');
  const names = new Set(guests.map(guest => guest.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.item.remove();
    if (card.url) URL.revokeObjectURL(card.url);
    cards.delete(name);
  }
  for (const guest of guests) {
    if (!cards.has(guest.name)) {
      const card = makeCard(guest.name);
      cards.set(guest.name, card);
      list.append(card.item);
    }
    const card = cards.get(guest.name);
    card.title.textContent = guest.title === guest.name ? guest.name : `${guest.name} (${guest.title})`;
    card.state.textContent = guest.state;
    card.state.dataset.state = guest.state;
    card.state.title = guest.reason;
  }
  message.hidden = guests.length > 0;
  message.textContent = 'There are no guests.';
  await Promise.all(guests.map(guest => showPicture(cards.get(guest.name), guest)));
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      try {
        await refresh();
      } catch (error) {
        message.hidden = false;
        message.textContent = error.message;
      }
    }
    await new Promise(resolve => setTimeout(resolve, refreshMilliseconds));
  }
}

run();
