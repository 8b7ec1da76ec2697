// The charts: Bokeh figures that Python made once for all viewers, embedded here and filled from the ring.

import {clock, count, durationText, known, make, say} from "./format.js"

const MOST_MS = 2000
const LEAST_MS = 250  // at most four pictures a second: each costs the browser some 50 ms of painting

export class Board {
  constructor(cells) {
    this.cells = cells  // chart name -> {legend, plot, note, head}
    this.document = null
    this.views = []
    this.legends = {}
    this.wanted = 0
    this.cursor = null
    this.markTimes = []
    this.totals = null
  }

  /** Fetch the figures of the current run in a theme and put them into their cells. */
  async load(theme) {
    const turn = ++this.wanted
    const told = await (await fetch(new URL(`charts.json?theme=${theme}`, document.baseURI))).json()
    if (turn !== this.wanted) return false
    this.clear()
    const roots = {}
    for (const [name, id] of Object.entries(told.roots)) roots[id] = this.cells[name].plot
    const views = await Bokeh.embed.embed_items(
      {board: told.document}, [{docid: "board", roots, root_ids: Object.keys(roots)}])
    if (turn !== this.wanted) return false
    this.views = views.flatMap((view) => view.roots ?? [view])
    this.document = this.views[0].model.document
    this.sources = Object.keys(told.roots).map((name) => [name, this.document.get_model_by_name(`mq:${name}`)])
    this.time = this.document.get_model_by_name("mq:time")
    this.events = this.document.get_model_by_name("mq:events")
    for (const [name, items] of Object.entries(told.legends)) this.legend(name, items, told.charts[name])
    for (const view of this.views) this.watch(view)
    this.marks(this.markTimes)
    return true
  }

  clear() {
    for (const view of this.views) view.remove()
    this.document?.clear()
    this.views = []
    this.document = null
    this.drawn = null
    for (const {plot, legend} of Object.values(this.cells)) {
      plot.replaceChildren()
      legend.replaceChildren()
    }
  }

  legend(name, items, {title, hint}) {
    const cell = this.cells[name]
    say(cell.title, title)
    say(cell.hint, hint)
    cell.items = items.map((item) => {
      const entry = make("span", "mq-entry")
      const swatch = make("i")
      swatch.style.background = item.colour
      const value = make("b")
      entry.append(swatch, make("span", "", item.label), value)
      cell.legend.append(entry)
      return {...item, entry, value}
    })
  }

  /** The times of events, drawn on every chart. */
  marks(times) {
    this.markTimes = times
    if (this.events) this.events.data = {t: times}
  }

  /** Fill every source from the ring and move the time axis. */
  draw(ring, seconds) {
    if (!this.document || !ring) return
    const newest = known(ring.newest) ? ring.newest : 0
    const end = Math.max(newest, seconds)
    const start = end - seconds
    this.time.setv({start, end})
    const since = start - 2 * seconds / 600
    const times = ring.time(since)
    this.drawn = {times, values: {}}
    for (const [name, source] of this.sources) {
      const data = {t: times}
      for (const column of Object.keys(source.data)) {
        if (column === "t") continue
        const values = ring.column(column, since)
        this.drawn.values[column] = values
        // a stack cannot have a hole: what is on top of it would vanish too
        data[column] = name === "backlog" || name === "losses" ? values.map((v) => Number.isNaN(v) ? 0 : v) : values
      }
      source.data = data
      this.cells[name].empty = times.length === 0
    }
    this.read()
  }

  /** Legend values: at the cursor, else the newest. */
  read() {
    const {drawn} = this
    if (!drawn) return
    let place = drawn.times.length - 1
    if (this.cursor !== null) {
      while (place > 0 && drawn.times[place] > this.cursor) place--
    }
    for (const [name, cell] of Object.entries(this.cells)) {
      for (const item of cell.items ?? []) {
        const value = drawn.values[item.column]?.[place]
        say(item.value, legendValue(item.unit, value))
        if (name === "losses") {
          // only causes that there were; the number is the total, as a rate is nearly always 0
          const total = this.totals?.[item.label] ?? 0
          item.entry.hidden = !total
          const told = item.column ? count(total) : `${count(total)} by design`
          say(item.value, this.cursor === null || !item.column ? told : legendValue("/s", value))
        }
      }
      say(cell.at, this.cursor === null ? "" : clock(this.cursor))
    }
  }

  /** The pointer on one chart reads the same moment on all. */
  watch(view) {
    const element = view.el
    element.addEventListener("pointermove", (event) => {
      const x = event.clientX - element.getBoundingClientRect().left
      const {left, right} = view.frame.bbox
      this.point(x < left || x > right ? null : view.frame.x_scale.invert(x))
    })
    element.addEventListener("pointerleave", () => this.point(null))
  }

  point(time) {
    this.cursor = time
    for (const view of this.views) {
      const line = view.el.parentElement?.parentElement?.querySelector?.(".mq-cursor")
      if (!line) continue
      line.hidden = time === null
      if (time !== null) line.style.left = `${view.el.offsetLeft + view.frame.x_scale.compute(time)}px`
    }
    this.read()
  }
}

function legendValue(unit, value) {
  if (!known(value)) return "–"
  return unit === "ms" ? durationText(value * 1e6) : count(Math.abs(value) < 10 ? Math.round(value * 10) / 10 : value) + unit
}

/** Calls `work` when there is something new, but neither often nor while it is slow, nor while hidden. */
export function pace(work) {
  let dirty = false
  const turn = async () => {
    let took = 0
    if (dirty && !document.hidden) {
      dirty = false
      const began = performance.now()
      work()
      await new Promise(requestAnimationFrame)
      took = performance.now() - began
    }
    setTimeout(turn, Math.min(Math.max(LEAST_MS, 3 * took), MOST_MS))
  }
  turn()
  return () => { dirty = true }
}
