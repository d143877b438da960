"""The plots of a report as Vega-Lite specifications: for the page that draws them itself, and for papers."""
