// Numbers as people read them. Thin spaces group thousands; what is not known is a dash.

const THIN = "\u202f"

export const known = (value) => value !== null && value !== undefined && Number.isFinite(value)

export function count(value) {
  if (!known(value)) return "–"
  const size = Math.abs(value)
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + THIN + "G"
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + THIN + "M"
  if (size >= 10 || Number.isInteger(value)) return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, THIN)
  return value.toFixed(1)
}

export function duration(ns) {
  if (!known(ns)) return ["–", ""]
  const [scale, unit] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : ns >= 1e3 ? [1e3, "µs"] : [1, "ns"]
  const value = ns / scale
  return [value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(unit === "ns" ? 0 : 2), unit]
}

export const durationText = (ns) => duration(ns).join(THIN).trim()

export function clock(seconds) {
  if (!known(seconds)) return "–"
  const whole = Math.max(0, Math.floor(seconds))
  const two = (n) => String(n).padStart(2, "0")
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor(whole / 60) % 60
  return (hours ? `${hours}:${two(minutes)}` : minutes) + ":" + two(whole % 60)
}

export const percent = (share) => !known(share) ? "–" : share >= 0.0005 && share < 0.1 ? (share * 100).toFixed(1) + THIN + "%" : Math.round(share * 100) + THIN + "%"

/** An element with a class and text; text that comes from a scenario only ever goes in here. */
export function make(tag, name = "", text = null) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text !== null) element.textContent = text
  return element
}

/** Set text only when it is another one: an untouched node costs the browser nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}
