// Charts in the colours of JupyterLab's theme, now and whenever it is switched. `pairs`: light -> dark.

const {document: board} = cb_obj
const lab = document.body
if (!board.__mq_theme) {
  board.__mq_theme = new MutationObserver(paint)
  board.__mq_theme.observe(lab, {attributes: true, attributeFilter: ["data-jp-theme-light"]})
  paint()
}

function paint() {
  if (board.roots().length === 0) return board.__mq_theme.disconnect()
  const dark = lab.dataset.jpThemeLight === "false"
  const wanted = new Map(Object.entries(pairs).map((pair) => dark ? pair : [pair[1], pair[0]]))
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
