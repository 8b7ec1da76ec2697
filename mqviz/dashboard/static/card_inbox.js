// Takes what Python sends and draws it: at most four times a second, less often while that is slow, never
// while hidden. A picture costs the browser far more than a message.

const LEAST_MS = 250, MOST_ROWS = 600

const card = cb_obj.__mq_card ??= {charts: {}, events: [], texts: {}, dirty: false, turning: false}
const {fresh, texts, charts, events: times, start_s: start, end_s: end} = JSON.parse(cb_obj.tags[0])
if (fresh) card.charts = {}, card.events = []
for (const [name, columns] of Object.entries(charts)) {
  const held = card.charts[name] ??= {}
  for (const [column, values] of Object.entries(columns)) {
    held[column] = (held[column] ?? []).concat(values.map((value) => value ?? NaN)).slice(-MOST_ROWS)
  }
}
card.events.push(...times)
card.range = {start, end}
Object.assign(card.texts, texts)
card.dirty = true

const draw = async () => {
  const began = performance.now()
  card.dirty = false
  // what Python sent need not go back to it
  const set = (model, values) => model.setv(values, {sync: false})
  for (const [name, source] of Object.entries(sources)) {
    if (card.charts[name]) set(source, {data: {...card.charts[name]}})
  }
  set(events, {data: {t: [...card.events]}})
  set(time, card.range)
  for (const [name, text] of Object.entries(card.texts)) set(divs[name], {text})
  card.texts = {}
  await new Promise(requestAnimationFrame)
  return performance.now() - began
}
const turn = async () => {
  const took = card.dirty && !document.hidden ? await draw() : 0
  if (card.dirty) setTimeout(turn, Math.max(LEAST_MS, 3 * took))
  else card.turning = false
}
if (!card.turning) {
  card.turning = true
  turn()
}
