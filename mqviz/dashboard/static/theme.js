// Runs before anything is drawn: the theme that the viewer has chosen, else that of the system, so that no page
// starts in the wrong one. The server learns it from the cookie; a page that was made without one is loaded again.
{
  const known = () => /(?:^|; )mq-theme=(dark|light)/.exec(document.cookie)?.[1]
  const before = known()
  const theme = before ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark")
  document.documentElement.dataset.mq = theme
  if (!before) document.cookie = `mq-theme=${theme}; path=/; samesite=lax`
  if (!before && theme === "light" && known() && "page" in document.currentScript.dataset) location.reload()
}
