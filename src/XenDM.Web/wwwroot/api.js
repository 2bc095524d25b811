// Requests to xendm-web. A failure is an Error whose message can be shown; an answer's status is in it.

export async function get(path) {
  return (await ask(path)).json();
}

export async function post(path, body) {
  await ask(path, {
    method: 'POST',
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

export async function picture(path) {
  return (await ask(path)).blob();
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error('xendm-web does not answer; it ends with the guests it was started for.');
  }
  if (response.ok) return response;
  let reason = `${response.status} ${response.statusText}`;
  const type = response.headers.get('Content-Type') ?? '';
  if (type.startsWith('application/json')) reason = (await response.json()).error ?? reason;
  else if (type.startsWith('text/plain')) reason = (await response.text()).trim() || reason;
  throw Object.assign(new Error(reason), { status: response.status });
}
