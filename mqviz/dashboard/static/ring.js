// The rows that a viewer holds of one tier: typed arrays that slide, newest last.

export class Ring {
  constructor(capacity) {
    this.capacity = capacity
    this.columns = []
    this.sequence = -1
    this.start = 0
    this.end = 0
    this.times = new Float64Array(0)
    this.values = new Map()
  }

  /** All rows anew, from a snapshot. */
  fill({head, times, values}) {
    this.columns = head.columns
    this.sequence = head.sequence
    this.start = 0
    this.end = times.length
    this.times = new Float64Array(2 * this.capacity)
    this.times.set(times)
    this.values = new Map(head.columns.map((name, place) => {
      const column = new Float32Array(2 * this.capacity)
      column.set(values[place])
      return [name, column]
    }))
  }

  /** A row `[tier, sequence, time, …]`. False: rows are missing before it, ask for a snapshot. */
  push(row) {
    if (row[1] <= this.sequence) return true
    if (row[1] !== this.sequence + 1) return false
    this.sequence = row[1]
    if (this.end === this.times.length) this.slide()
    this.times[this.end] = row[2]
    let place = 3
    for (const column of this.values.values()) {
      const value = row[place++]
      column[this.end] = value === null ? NaN : value
    }
    this.end += 1
    if (this.end - this.start > this.capacity) this.start += 1
    return true
  }

  slide() {
    this.times.copyWithin(0, this.start, this.end)
    for (const column of this.values.values()) column.copyWithin(0, this.start, this.end)
    this.end -= this.start
    this.start = 0
  }

  get length() { return this.end - this.start }
  get newest() { return this.length ? this.times[this.end - 1] : NaN }

  /** Copies from the first row at or after `since`. */
  time(since) { return this.times.slice(this.from(since), this.end) }
  column(name, since) { return (this.values.get(name) ?? this.times).slice(this.from(since), this.end) }

  from(since) {
    let low = this.start, high = this.end
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.times[middle] < since) low = middle + 1; else high = middle
    }
    return low
  }
}

/** A binary snapshot: u32 length, JSON head, float64 times, float32 columns. */
export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true)
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)))
  let offset = 4 + length
  const times = new Float64Array(buffer, offset, head.rows)
  offset += 8 * head.rows
  const values = head.columns.map((_, place) => new Float32Array(buffer, offset + 4 * place * head.rows, head.rows))
  return {head, times, values}
}
