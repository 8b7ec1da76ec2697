"""Charts: one a file, made of Bokeh, filled from the rows of a store; used by the page, the notebook and reports."""
