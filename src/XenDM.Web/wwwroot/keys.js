// Keys that a browser or its desktop keeps for itself, and text as key strokes. Numbers are X11 keysyms (X11/keysymdef.h).

const control = [0xffe3, 'ControlLeft'];
const alt = [0xffe9, 'AltLeft'];
const shift = [0xffe1, 'ShiftLeft'];
const superKey = [0xffeb, 'MetaLeft'];
const returnKey = [0xff0d, 'Enter'];
const tab = [0xff09, 'Tab'];
const f1 = 0xffbe;

export const combinations = [
  ['Ctrl-Alt-Del', [control, alt, [0xffff, 'Delete']]],
  ['Alt-Tab', [alt, tab]],
  ['Alt-F4', [alt, [f1 + 3, 'F4']]],
  ['Ctrl-Alt-Backspace', [control, alt, [0xff08, 'Backspace']]],
  ['Ctrl-Shift-Esc', [control, shift, [0xff1b, 'Escape']]],
  ['Esc', [[0xff1b, 'Escape']]],
  ['Super', [superKey]],
  ['Print Screen', [[0xff61, 'PrintScreen']]],
  ['Alt-SysRq-B', [alt, [0xff61, 'PrintScreen'], [0x62, 'KeyB']]],
  ...[1, 2, 3, 4, 5, 6, 7].map(n => [`Ctrl-Alt-F${n}`, [control, alt, [f1 + n - 1, `F${n}`]]]),
];

// Presses the keys in order and lets go of them in reverse.
export function send(rfb, keys) {
  for (const [keysym, code] of keys) rfb.sendKey(keysym, code, true);
  for (const [keysym, code] of [...keys].reverse()) rfb.sendKey(keysym, code, false);
}

// The keys of a US keyboard for a character, because device models know characters by their keys.
function strokes(character) {
  if (character === '\n') return [returnKey];
  if (character === '\t') return [tab];
  const point = character.codePointAt(0);
  const keysym = point < 0x100 ? point : 0x01000000 + point;
  const shifted = '~!@#$%^&*()_+{}|:"<>?'.includes(character) || (character >= 'A' && character <= 'Z');
  return shifted ? [shift, [keysym, null]] : [[keysym, null]];
}

// Types a text at a pace that a guest's keyboard buffer can follow.
export async function type(rfb, text) {
  for (const character of text.replace(/\r\n?/g, '\n')) {
    send(rfb, strokes(character));
    await new Promise(resolve => setTimeout(resolve, 15));
  }
}
