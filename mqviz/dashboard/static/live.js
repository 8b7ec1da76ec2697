// The live component: lays out the page, hears the feed, and draws what moves.

import {Board, pace} from "./board.js"
import {Client, WINDOWS} from "./client.js"
import {clock, count, make, percent, say} from "./format.js"
import {Nodes} from "./nodes.js"
import {Strip} from "./strip.js"

const CHARTS = ["throughput", "latency", "backlog", "losses"]
const FLOWS = ["warm-up", "measure", "drain"]
const STATES = {
  idle: "not started", starting: "starting", "warm-up": "warming up", measure: "measuring", drain: "draining",
  stopping: "stopping", ended: "ended", failed: "failed",
}
const PHASES = {
  "warm-up": "warm-up begins", measure: "measuring begins", drain: "producers stop, the rest drains", ended: "the run is over",
}
const EMPTY = {
  idle: "Start the run to see it here.", starting: "Starting…", failed: "The run did not start.", stopping: "Stopping…",
}

export function mount(model, el) {
  const root = make("div", "mq-live")
  const style = make("link")
  style.rel = "stylesheet"
  style.href = new URL("mq/live.css", document.baseURI)
  const page = new Page(model, root)
  new ResizeObserver(() => page.dirty()).observe(root)
  root.prepend(style)
  queueMicrotask(() => page.open(model, el))
  return root
}

class Page {
  constructor(model, root) {
    this.root = root
    this.status = null
    this.marks = []
    this.paused = false
    this.dirty = pace(() => this.draw())

    this.banner = make("div", "mq-banner")
    this.banner.setAttribute("role", "status")
    this.grid = make("div", "mq-grid")
    // now and not later: a child that is attached after an await stays blank
    const start = make("div", "mq-start"), bar = model.get_child("bar")
    if (bar) start.append(bar)
    root.append(start, this.toolbar(), this.banner, this.grid)

    const strip = make("div", "mq-strip")
    strip.setAttribute("aria-label", "Figures")
    this.strip = new Strip(strip)
    this.grid.append(strip)
    this.cells = Object.fromEntries(CHARTS.map((name) => [name, this.card(name)]))
    this.board = new Board(this.cells)
    this.side(model)
  }

  /** The viewer's own settings, in the bar where there is room for them. */
  toolbar() {
    const bar = make("div", "mq-tools")
    this.pill = make("div", "mq-pill")
    this.pill.append(make("i"), make("b"), make("span"))
    const windows = make("div", "mq-windows")
    windows.setAttribute("role", "group")
    windows.setAttribute("aria-label", "Time shown")
    this.windows = WINDOWS.map((window) => {
      const button = make("button", "", window.label)
      button.onclick = () => this.show(window)
      windows.append(button)
      return button
    })
    this.hold = make("button", "mq-hold")
    this.hold.onclick = () => this.pause(!this.paused)
    bar.append(this.pill, windows, this.hold)
    return bar
  }

  card(name) {
    const card = make("section", "mq-card mq-chart")
    card.style.gridArea = name
    const head = make("header"), title = make("h2"), hint = make("small"), at = make("time")
    head.append(title, hint, at)
    const legend = make("div", "mq-legend")
    const hold = make("div", "mq-hold-plot"), plot = make("div", "mq-plot"), cursor = make("div", "mq-cursor"), note = make("div", "mq-note")
    cursor.hidden = true
    hold.append(plot, cursor, note)
    card.append(head, legend, hold)
    this.grid.append(card)
    return {card, title, hint, at, legend, plot, note}
  }

  side(model) {
    const nodes = make("section", "mq-card mq-nodes"), list = make("div", "mq-list"), detail = make("div", "mq-detail")
    const head = make("header")
    head.append(make("h2", "", "Nodes"), make("small", "", "select one to change its load"))
    nodes.append(head, list, detail)
    this.nodes = new Nodes(list, detail, model.get_child("controls"), (picked) => { model.picked = picked })

    const events = make("section", "mq-card mq-events"), above = make("header")
    this.list = make("ol")
    this.cost = make("footer")
    above.append(make("h2", "", "Events"), make("small", "", "newest first"))
    events.append(above, this.list, this.cost)
    this.grid.append(nodes, events)
  }

  open(model, el) {
    this.follow(el)
    document.getElementById("mq-skeleton")?.remove()
    this.client = new Client(this)
    // charts do not need the session, the controls do: once it is gone, only a new page has one
    model.document?.on_event("connection_lost", () => { this.stale = true; this.renew() })
    this.show(WINDOWS.find(({label}) => label === localStorage.getItem("mq-window")) ?? WINDOWS[1])
    this.pause(false)
  }

  renew() {
    if (this.stale && this.client.connected) location.reload()
  }

  /** Page has the theme as a class on an element around this one. */
  follow(el) {
    const around = el.getRootNode().host?.closest(".mui-dark, .mui-light")
    const read = () => {
      const theme = around?.classList.contains("mui-light") ? "light" : "dark"
      if (theme === this.theme) return
      // what a viewer chooses is kept; what the page began with may be the system's choice
      if (this.theme) document.cookie = `mq-theme=${theme}; path=/; max-age=31536000; samesite=lax`
      this.theme = theme
      document.documentElement.dataset.mq = theme
      if (this.told) this.load()
    }
    if (around) new MutationObserver(read).observe(around, {attributes: true, attributeFilter: ["class"]})
    read()
  }

  show(window) {
    this.windows.forEach((button, place) => button.setAttribute("aria-pressed", String(WINDOWS[place] === window)))
    localStorage.setItem("mq-window", window.label)
    this.client.show(window)
    this.dirty()
  }

  pause(paused) {
    this.paused = paused
    this.hold.setAttribute("aria-pressed", String(paused))
    this.hold.classList.toggle("on", paused)
    this.hold.ariaLabel = this.hold.title = paused ? "Let the charts go on" : "Hold the charts still"
    this.dirty()
  }

  async load() {
    if (await this.board.load(this.theme)) this.draw(true)
  }

  // what the feed says

  hearRun(message) {
    const again = this.told?.run === message.run
    this.told = message
    this.lostAt = null
    this.renew()
    if (!again) {
      this.nodes.shapeOf(message.nodes)
      this.load()
      this.pause(false)
    }
    this.marks = []
    this.list.replaceChildren()
    this.addMarks(message.marks)
    this.warn()
  }

  hearStatus(message) {
    this.status = message
    const flows = FLOWS.includes(message.state)
    this.strip.show(message, this.told.nodes)
    this.nodes.show(message.nodes, flows)
    this.pill.dataset.state = message.state
    const [, words, time] = this.pill.children
    say(words, STATES[message.state] ?? message.state)
    say(time, message.state === "idle" || message.state === "starting" ? "" : clock(message.elapsed_s))
    this.board.totals = message.figures?.causes ?? null
    this.board.read()
    this.notes()
    const watching = (message.page_share ?? 0) + (message.agent_share ?? 0)
    say(this.cost, [
      message.page_share === null ? "Cost of watching: being measured" : `Watching costs ${percent(watching)} of a core`,
      `${count(message.samples_lost)} Samples lost`,
      `${message.viewers} ${message.viewers === 1 ? "viewer" : "viewers"}`,
    ].join(" · "))
    this.warn()
  }

  addMarks(marks) {
    for (const mark of marks) {
      this.marks.push(mark)
      const item = make("li", mark.kind)
      item.append(make("time", "", clock(mark.t)), make("span", "", mark.kind === "phase" ? PHASES[mark.text] ?? mark.text : mark.text))
      this.list.prepend(item)
    }
    while (this.list.children.length > 200) this.list.lastChild.remove()
    this.list.classList.toggle("none", !this.marks.length)
    this.board.marks(this.marks.filter(({kind}) => kind !== "phase").map(({t}) => t))
  }

  hearMarks({marks}) { this.addMarks(marks) }

  hearRows() { this.dirty() }

  hearLost() {
    this.lostAt = Date.now()
    this.warn()
  }

  // what is shown

  draw(force = false) {
    if (!this.client) return
    if (!this.paused || force) this.board.draw(this.client.shown, this.client.window.seconds)
    this.strip.spark(this.client.live)
    this.notes()
  }

  notes() {
    const state = this.status?.state
    const empty = !this.client?.shown?.length
    for (const name of CHARTS) {
      const none = name === "losses" && !empty && this.status?.figures && !this.status.figures.lost
      say(this.cells[name].note, empty ? EMPTY[state] ?? "Waiting for the first row…" : none ? "No message is proven lost." : "")
      this.cells[name].note.classList.toggle("loud", empty)
    }
  }

  warn() {
    const {state, error, folder} = this.status ?? {}
    let text = "", tone = ""
    if (this.lostAt) [text, tone] = ["The connection to mqviz is lost. Trying again…", "warn"]
    else if (state === "failed" || error) [text, tone] = [error || "The run failed.", "bad"]
    else if (state === "ended" && folder) [text, tone] = [`The run is over. Its results are in ${folder}`, "calm"]
    say(this.banner, text)
    this.banner.dataset.tone = tone
    this.root.classList.toggle("away", Boolean(this.lostAt))
  }
}

globalThis.mqviz = {mount}
