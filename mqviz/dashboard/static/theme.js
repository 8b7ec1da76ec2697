// Runs before anything is drawn: the viewer's theme, so that no page starts in the wrong one.
document.documentElement.dataset.mq = /(?:^|; )mq-theme=light/.test(document.cookie) ? "light" : "dark"
