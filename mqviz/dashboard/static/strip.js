// The figures strip: five numbers that say how the run is doing, each with its last minute.

import {count, duration, durationText, known, make, say} from "./format.js"

const FIGURES = [
  ["throughput", "Throughput", "received"],
  ["p99", "End-to-end p99", "p99"],
  ["backlog", "Backlog", "backlog"],
  ["lost", "Lost", "lost"],
  ["alive", "Instances alive", null],
]
const SPARK_S = 60
const WIDE = 100, HIGH = 34

export class Strip {
  constructor(root) {
    this.cells = {}
    for (const [key, label, column] of FIGURES) {
      const card = make("section", "mq-card mq-figure")
      card.dataset.figure = key
      const value = make("strong"), unit = make("em"), note = make("p"), number = make("div", "mq-number")
      number.append(value, unit)
      const words = make("div")
      words.append(make("h2", "", label), number, note)
      card.append(words)
      let line = null, area = null
      if (column) {
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
        svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`)
        svg.setAttribute("preserveAspectRatio", "none")
        svg.setAttribute("aria-hidden", "true")
        area = document.createElementNS(svg.namespaceURI, "path")
        line = document.createElementNS(svg.namespaceURI, "path")
        area.setAttribute("class", "area")
        line.setAttribute("class", "line")
        svg.append(area, line)
        card.append(svg)
      }
      root.append(card)
      this.cells[key] = {card, value, unit, note, column, line, area}
    }
  }

  /** From a status message. */
  show({state, figures, nodes}, shape) {
    const f = figures ?? {}
    const over = state === "ended" || state === "failed"
    const nothing = over ? "nothing was sent" : "no message yet"
    this.set("throughput", count(f.throughput), known(f.throughput) ? "msg/s" : "", !figures ? nothing : over ? "mean of the measure phase" : change(f))
    const [value, unit] = duration(f.p99)
    this.set("p99", value, unit, known(f.p50) ? `p50 ${durationText(f.p50)} · p99.9 ${durationText(f.p999)}` : nothing)
    this.set("backlog", count(f.backlog), known(f.backlog) ? "messages" : "", !figures ? nothing : over ? "at the end" : trend(f))
    const lost = f.lost ?? null
    this.set("lost", count(lost), known(lost) ? "messages" : "", figures ? lossNote(f, over) : nothing, lost > 0)
    const alive = nodes.reduce((sum, node) => sum + node.alive, 0)
    const all = shape.reduce((sum, node) => sum + node.count, 0)
    const down = nodes.flatMap((node, place) => [...node.lives].flatMap((live, index) => live === "0" ? [`${shape[place].name}.${index}`] : []))
    const flows = ["warm-up", "measure", "drain"].includes(state)
    const total = Math.max(all, nodes.reduce((sum, node) => sum + node.lives.length, 0))
    this.set("alive", `${alive} / ${total}`, "",
      flows ? down.length ? `${down.slice(0, 2).join(", ")}${down.length > 2 ? ` and ${down.length - 2} more` : ""} down` : "all running"
        : over ? "the run is over" : state === "starting" ? "starting" : "not started", flows && down.length > 0)
  }

  set(key, value, unit, note, wrong = false) {
    const cell = this.cells[key]
    say(cell.value, value)
    say(cell.unit, unit)
    say(cell.note, note)
    cell.note.title = note
    cell.card.classList.toggle("wrong", wrong)
  }

  /** The last minute as a line; a log scale for durations, else from zero. */
  spark(ring) {
    if (!ring) return
    const end = Math.max(ring.newest, 0)
    const since = end - SPARK_S
    const times = ring.time(since)
    for (const {column, line, area} of Object.values(this.cells)) {
      if (!column) continue
      const values = smooth(ring.column(column, since), column === "lost" ? 1 : 5)
      let top = 0
      for (const value of values) if (value > top) top = value
      let path = "", first = null, last = null
      for (let i = 0; i < times.length; i += 2) {
        if (!known(values[i])) continue
        const x = ((times[i] - since) / SPARK_S * WIDE).toFixed(1)
        path += `${path ? "L" : "M"}${x} ${(HIGH - 2 - (top ? values[i] / top : 0) * (HIGH - 5)).toFixed(1)}`
        first ??= x
        last = x
      }
      line.setAttribute("d", path)
      area.setAttribute("d", path ? `${path}L${last} ${HIGH}L${first} ${HIGH}Z` : "")
    }
  }
}

function smooth(values, width) {
  if (width === 1) return values
  return values.map((_, i) => {
    let sum = 0, n = 0
    for (let k = Math.max(0, i - width + 1); k <= i; k++) if (known(values[k])) { sum += values[k]; n++ }
    return n ? sum / n : NaN
  })
}

function change({throughput, throughput_before: before}) {
  if (!known(throughput)) return ""
  if (!known(before) || before <= 0) return "deliveries on all links"
  const share = Math.round((throughput / before - 1) * 100)
  return Math.abs(share) < 2 ? "steady for a minute" : `${share > 0 ? "▲" : "▼"} ${Math.abs(share)}\u202f% in a minute`
}

function trend({backlog, backlog_slope: slope}) {
  if (!known(backlog)) return ""
  if (!known(slope) || Math.abs(slope) < Math.max(1, backlog * 0.01)) return "steady"
  if (slope > 0) return `grows ${count(slope)}/s`
  const seconds = backlog / -slope
  return seconds > 3600 ? "shrinks" : `drains in ${Math.max(1, Math.round(seconds))} s`
}

function lossNote({lost, worst, unresolved}, over) {
  const open = unresolved ? `${count(unresolved)} not known yet` : ""
  if (worst) return `${worst.cause} on ${worst.link}${open ? ` · ${open}` : ""}`
  return open || (over ? "the books close" : "none proven")
}
