"""One viewer's page: a Panel Material UI page around one live component; charts are no models of the session."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import JSComponent
from panel.io.resources import LOCAL_DIST
from panel.viewable import Child

from mqviz.charts.theme import DARK, LIGHT, Palette
from mqviz.dashboard.broadcast import Broadcast
from mqviz.dashboard.controls import Controls, Header
from mqviz.dashboard.front import BODY
from mqviz.dashboard.host import LabHost

TEMPLATE = """
{% extends "base.html" %}
{% block postamble %}{{ super() }}
<link rel="stylesheet" href="mq/live.css">
<link rel="icon" href="mq/icon.svg">
<script type="module" src="mq/live.js"></script>
{% endblock %}
{% block loader %}<div id="mq-skeleton">BODY</div><script src="mq/theme.js" data-page></script>{% endblock %}
{% block loader_script %}{% endblock %}
""".replace("BODY", BODY)


class Live(JSComponent):
    """The live component: its script draws everything that moves, and tells what the viewer has picked."""

    bar = Child()
    controls = Child()
    picked = param.Dict(default={}, doc="The node and instance selected: node, instance, alive.")

    _esm = "export function render({model, el}) { return globalThis.mqviz.mount(model, el) }"
    _render_policy = "manual"


def make_page(host: LabHost, broadcast: Broadcast) -> Any:
    """Build it, for the session being created."""
    document = pn.state.curdoc
    if document is not None:
        # Panel sets it with the HTML; a session made anew for a page that slept would ask Panel's CDN
        document.template_variables["dist_url"] = LOCAL_DIST
    dark = pn.state.cookies.get("mq-theme", "dark") != "light"
    header = Header(host)
    controls = Controls(host)
    # in the page's own header they would be drawn in colours for a primary-coloured bar
    live = Live(bar=header.view, controls=controls.view, sizing_mode="stretch_width", margin=0)
    live.param.watch(lambda event: controls.pick(event.new), "picked")
    page = quiet_page(
        title="mqviz",
        main=[live],
        dark_theme=dark,
        theme_config={"dark": theme(DARK), "light": theme(LIGHT)},
        # an empty persistent sidebar would still push the page 320 px to the left
        sidebar_variant="temporary",
        sidebar_open=False,
        busy_indicator=None,
        template=TEMPLATE,
        meta_title="mqviz",
        sx=PAGE_SX,
    )
    follow(broadcast, header, controls)
    if document is not None:
        # the page's script says that the connection is lost, and loads itself anew when it is back
        document.config.update(reconnect_session=False, notify_connection_status=False)
    return page


def follow(broadcast: Broadcast, header: Header, controls: Controls) -> None:
    """Renew a session's controls when the lab or its state is another one, until the session ends."""
    document = pn.state.curdoc
    if document is None:
        return

    def renew() -> None:
        header.renew()
        controls.renew()

    def tell() -> None:
        document.add_next_tick_callback(renew)

    def leave(_: object) -> None:
        if tell in broadcast.on_change:
            broadcast.on_change.remove(tell)

    broadcast.on_change.append(tell)
    document.on_session_destroyed(leave)


def quiet_page(**options: Any) -> Any:
    """A pmui.Page that leaves nothing behind: its constructor ties it to the global state for ever."""

    def watchers() -> list[Any]:
        found = pn.state.param.watchers.get("busy", {}).get("value", [])
        return list(found)

    before = {id(watcher) for watcher in watchers()}
    page = pmui.Page(**options)
    for watcher in watchers():
        if id(watcher) not in before:
            pn.state.param.unwatch(watcher)
    return page


def theme(palette: Palette) -> dict[str, Any]:
    """Material UI's theme for a palette."""
    return {
        "palette": {
            "primary": {"main": palette.primary, "contrastText": palette.background},
            "error": {"main": palette.bad},
            "warning": {"main": palette.warn},
            "success": {"main": palette.good},
            "background": {"default": palette.background, "paper": palette.paper},
            "text": {"primary": palette.text, "secondary": palette.dim},
            "divider": palette.line,
        },
        "shape": {"borderRadius": 8},
        "typography": {"button": {"textTransform": "none", "fontWeight": 600}},
        "components": {
            "MuiAppBar": {
                "styleOverrides": {
                    "root": {
                        "backgroundColor": palette.paper,
                        "backgroundImage": "none",
                        "color": palette.text,
                        "boxShadow": "none",
                        "borderBottom": f"1px solid {palette.line}",
                    }
                }
            },
            "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "54px !important"}}},
            "MuiButton": {"defaultProps": {"disableElevation": True}},
        },
    }


PAGE_SX = {
    "& .MuiAppBar-root a": {"color": "inherit !important"},
    "& .title": {
        "color": "inherit !important",
        "fontSize": "19px",
        "fontWeight": 700,
        "letterSpacing": "-0.2px",
        "marginRight": "14px",
    },
    "& .MuiAppBar-root .MuiIconButton-root": {"color": "inherit !important"},
    "& .main": {"backgroundColor": "background.default"},
}
