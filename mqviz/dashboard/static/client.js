// One socket a page. It only listens, and asks for a snapshot whenever rows are missing:
// after it connects, at a gap, when another window is chosen, and when the page is shown again.

import {Ring, decode} from "./ring.js"

const SPAN_S = [0.1, 1, 10]

/** Seconds shown, and the tier that shows them with some hundred points. */
export const WINDOWS = [
  {label: "30 s", seconds: 30, tier: 0},
  {label: "1 min", seconds: 60, tier: 0},
  {label: "5 min", seconds: 300, tier: 1},
  {label: "15 min", seconds: 900, tier: 1},
  {label: "1 h", seconds: 3600, tier: 2},
]

const SPARK_ROWS = 620

export class Client {
  constructor(listener) {
    this.listener = listener
    this.rings = new Map()
    this.boot = null
    this.connected = false
    this.wait = 250
    this.window = WINDOWS[1]
    document.addEventListener("visibilitychange", () => document.hidden ? this.send({hidden: true}) : this.ask())
    this.connect()
  }

  connect() {
    // relative to the page, so that it works under a proxy's prefix
    const address = new URL("feed", document.baseURI)
    address.protocol = address.protocol.replace("http", "ws")
    this.socket = new WebSocket(address)
    this.socket.binaryType = "arraybuffer"
    this.socket.onmessage = ({data}) => this.hear(data)
    this.socket.onclose = () => {
      if (this.connected) this.listener.hearLost()
      this.connected = false
      setTimeout(() => this.connect(), this.wait)
      this.wait = Math.min(this.wait * 1.6, 4000)
    }
  }

  hear(data) {
    if (typeof data !== "string") return this.fill(decode(data))
    if (data[0] === "[") return this.row(JSON.parse(data))
    const message = JSON.parse(data)
    if (message.kind === "run") return this.run(message)
    if (message.kind === "status") this.listener.hearStatus(message)
    else if (message.kind === "marks") this.listener.hearMarks(message)
  }

  run(message) {
    // another process answers now: the controls of this page belong to one that is gone
    if (this.boot !== null && this.boot !== message.boot) return location.reload()
    this.boot = message.boot
    this.connected = true
    this.wait = 250
    this.rings.clear()
    this.listener.hearRun(message)
    this.ask()
  }

  show(window) {
    this.window = window
    this.ask()
  }

  ask() {
    if (document.hidden) return this.send({hidden: true})
    const {tier, seconds} = this.window
    const rows = Math.ceil(seconds / SPAN_S[tier]) + 2
    const wanted = new Map([[0, SPARK_ROWS], [tier, tier === 0 ? Math.max(rows, SPARK_ROWS) : rows]])
    for (const known of this.rings.keys()) if (!wanted.has(known)) this.rings.delete(known)
    for (const [number, count] of wanted) {
      this.rings.set(number, new Ring(count))
      this.send({ask: number, rows: count})
    }
  }

  fill(snapshot) {
    const ring = this.rings.get(snapshot.head.tier)
    if (!ring) return
    ring.fill(snapshot)
    this.listener.hearRows()
  }

  row(row) {
    const ring = this.rings.get(row[0])
    if (!ring?.columns.length) return  // its snapshot is on the way
    if (ring.push(row)) this.listener.hearRows()
    else this.ask()
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message))
  }

  get shown() { return this.rings.get(this.window.tier) }
  get live() { return this.rings.get(0) }
}
