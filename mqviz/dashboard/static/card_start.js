// Once, when the card is drawn: its channel to Python is put right, and colours follow the notebook's theme.
// `pairs`: each colour of the light theme and what it is in the dark one.

if (!inbox.__mq_started) {
  inbox.__mq_started = true
  const board = cb_obj.document
  const lab = document.body

  // Panel's channel would send every change back, also those that Bokeh marks as not to be; and it says nothing
  // when the output is cleared
  const manager = [...board._all_models.values()].find((model) => model._document_listener)
  if (manager) {
    const channel = manager._client_comm
    board.remove_on_change(manager._document_listener)
    board.on_change((event) => {
      if (event.kind === "RootRemoved") channel?.send({closed: true})
      else if (event.sync) manager._document_listener(event)
    })
  }

  const paint = () => {
    if (board.roots().length === 0) return watcher.disconnect()
    const dark = lab.dataset.jpThemeLight === "false"
    const wanted = new Map()
    for (const [light, other] of Object.entries(pairs)) {
      wanted.set(dark ? light : other, dark ? other : light)
      // for legends, which are HTML
      document.documentElement.style.setProperty(`--mq-${light.slice(1)}`, dark ? other : light)
    }
    for (const model of board._all_models.values()) {
      const changes = {}
      for (const {attr} of model) {
        if (!attr.endsWith("_color")) continue
        const value = model[attr]
        const colour = wanted.get(value?.value ?? value)
        if (colour) changes[attr] = value?.value ? {...value, value: colour} : colour
      }
      if (Object.keys(changes).length) model.setv(changes, {sync: false})
    }
  }
  const watcher = new MutationObserver(paint)
  watcher.observe(lab, {attributes: true, attributeFilter: ["data-jp-theme-light"]})
  paint()
}
