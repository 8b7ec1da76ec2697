// Charts in the colours of the notebook's theme, now and whenever it is switched. `pairs`: light -> dark.

if (!inbox.__mq_theme) {
  const lab = document.body
  const board = cb_obj.document
  const paint = () => {
    if (board.roots().length === 0) return inbox.__mq_theme.disconnect()
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
      // Python need not know
      if (Object.keys(changes).length) model.setv(changes, {sync: false})
    }
  }
  inbox.__mq_theme = new MutationObserver(paint)
  inbox.__mq_theme.observe(lab, {attributes: true, attributeFilter: ["data-jp-theme-light"]})
  paint()
}
