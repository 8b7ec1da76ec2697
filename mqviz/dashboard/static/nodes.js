// The node list, and under it what can be done to the node that is selected.

import {count, known, make, percent, say} from "./format.js"

const MARKS = {
  producer: "M5 3.5v13l11-6.5z",
  worker: "M10 2.5l6.5 3.75v7.5L10 17.5l-6.5-3.75v-7.5z",
  consumer: "M4 4h12v12H4z",
}

export class Nodes {
  constructor(list, detail, child, picked) {
    Object.assign(this, {list, detail, picked})
    this.shape = []
    this.rows = []
    this.node = null
    this.instance = 0
    this.told = ""
    this.title = make("strong")
    this.about = make("span")
    this.chips = make("div", "mq-chips")
    this.chips.setAttribute("role", "group")
    this.chips.setAttribute("aria-label", "Instances")
    const close = make("button", "mq-close", "×")
    close.ariaLabel = "Close"
    close.onclick = () => this.select(null)
    const head = make("header")
    head.append(this.title, this.about, close)
    const hold = make("div", "mq-child")
    if (child) hold.append(child)
    detail.append(make("div", "mq-grip"), head, this.chips, hold)
  }

  /** A scenario's nodes. */
  shapeOf(nodes) {
    this.shape = nodes
    this.rows = nodes.map((node) => {
      const row = make("button", "mq-node")
      const top = make("span", "mq-node-top"), bar = make("span", "mq-bar"), fill = make("i")
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
      const path = document.createElementNS(svg.namespaceURI, "path")
      svg.setAttribute("viewBox", "0 0 20 20")
      svg.setAttribute("aria-hidden", "true")
      path.setAttribute("d", MARKS[node.role] ?? MARKS.consumer)
      svg.append(path)
      const name = make("b", "", node.name), alive = make("span", "mq-alive"), value = make("span", "mq-value"), side = make("span", "mq-side")
      top.append(svg, name, alive, value)
      bar.append(fill)
      row.append(top, bar, side)
      row.dataset.role = node.role
      row.onclick = () => this.select(this.node === node.name ? null : node.name)
      return {row, alive, value, fill, side}
    })
    this.list.replaceChildren(...this.rows.map(({row}) => row))
    this.select(null)
  }

  show(nodes, flows) {
    if (nodes.length !== this.rows.length) return
    this.state = nodes
    nodes.forEach((node, place) => {
      const {row, alive, value, fill, side} = this.rows[place]
      const {role, count: asked} = this.shape[place]
      const all = node.lives.length || asked
      say(alive, node.alive === all ? `×${all}` : `${node.alive} of ${all}`)
      row.classList.toggle("wrong", flows && node.alive < all)
      row.classList.toggle("paused", node.paused)
      row.classList.toggle("still", !flows)
      if (role === "producer") {
        say(value, flows && known(node.sent) ? `${count(node.sent)}/s sent` : "–")
        say(side, node.paused ? "paused" : "")
        fill.style.width = "0"
      } else {
        say(value, known(node.waiting) ? `${count(node.waiting)} waiting` : "–")
        say(side, node.paused ? "paused" : flows && known(node.busy) ? `${percent(node.busy)} busy` : "")
        fill.style.width = flows && known(node.busy) ? `${(100 * node.busy).toFixed(1)}%` : "0"
        fill.classList.toggle("hot", node.busy > 0.9)
      }
    })
    this.showDetail()
  }

  select(name) {
    this.node = name
    this.instance = 0
    this.shape.forEach((node, place) => {
      this.rows[place].row.setAttribute("aria-expanded", String(node.name === name))
    })
    this.detail.classList.toggle("open", name !== null)
    this.showDetail()
  }

  showDetail() {
    const place = this.shape.findIndex(({name}) => name === this.node)
    if (place < 0) return this.tell({})
    const {name, role} = this.shape[place]
    const {lives = "", paused = false} = this.state?.[place] ?? {}
    say(this.title, name)
    say(this.about, `${role} · ${lives.length} ${lives.length === 1 ? "instance" : "instances"}${paused ? " · paused" : ""}`)
    this.instance = Math.min(this.instance, Math.max(lives.length - 1, 0))
    if (this.chips.children.length !== lives.length) {
      this.chips.replaceChildren(...[...lives].map((_, index) => {
        const chip = make("button", "mq-chip", String(index))
        chip.onclick = () => { this.instance = index; this.showDetail() }
        return chip
      }))
    }
    ;[...this.chips.children].forEach((chip, index) => {
      const live = lives[index] === "1"
      chip.classList.toggle("dead", !live)
      chip.setAttribute("aria-pressed", String(index === this.instance))
      chip.ariaLabel = `${name}.${index}, ${live ? "alive" : "down"}`
    })
    this.tell({node: name, instance: this.instance, alive: lives[this.instance] === "1", paused})
  }

  /** Python makes a node's controls when it is first selected. */
  tell(picked) {
    const text = JSON.stringify(picked)
    if (text === this.told) return
    this.told = text
    this.picked(picked)
  }
}
