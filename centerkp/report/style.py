"""The look of a report page: one style sheet, light and dark, from a phone's width up."""

# The colours of the series, in order; a chart names them as var(--series0) and so follows the reader's light or dark.
SERIES = ("series0", "series1", "series2", "series3", "series4", "series5")
DASHES = ("solid", "dashed", "dotted")  # of the lines that have a colour, one after the other

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --card: #f4f4f2; --ink: #1e2227; --muted: #626b74; --rule: #dfe1e3;
  --accent: 31 95 160; --bad: #b3261e; --warn: #8a5a00; --good: #1d7044; --note: #4a5560;
  --series0: #1f5fa0; --series1: #c4670a; --series2: #1a7f5a; --series3: #a3477f; --series4: #6b5fb0; --series5: #5d6570; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191d; --card: #1e2227; --ink: #e3e6e9; --muted: #9aa4ad;
  --rule: #32383f; --accent: 122 178 238; --bad: #f2857c; --warn: #e3b25a; --good: #74c69a; --note: #a9b4be;
  --series0: #7ab2ee; --series1: #f0a050; --series2: #67c39c; --series3: #dc93bf; --series4: #b0a5ee; --series5: #a9b2bb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; padding-top: .7rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: rgb(var(--accent)); }
.muted, figcaption, caption, .tiles small { color: var(--muted); font-size: .87rem; }
nav { margin: .8rem 0 0; font-size: .92rem; display: flex; flex-wrap: wrap; gap: .15rem 1rem; }
pre { margin: .8rem 0; padding: .7rem .9rem; background: var(--card); border-radius: .4rem; white-space: pre-wrap;
  font-size: .87rem; }
dl { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); margin: .8rem 0; font-size: .92rem; }
dt, dd { margin: 0; padding: .3rem 0; border-top: 1px solid var(--rule); }
dt { font-weight: 500; padding-right: 1.2rem; }
dd { color: var(--muted); }
details { margin: .8rem 0; }
summary { cursor: pointer; color: rgb(var(--accent)); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tiles div { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tiles b { display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles span, .tiles small { display: block; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
thead th { font-weight: 500; color: var(--muted); vertical-align: bottom; white-space: normal; overflow-wrap: normal; }
th:first-child { padding-left: 0; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--paper); max-width: 16rem; white-space: normal;
  min-width: 9rem; }
.left { text-align: left; }
td.text { white-space: normal; min-width: 11rem; }
tr.group th { color: var(--muted); padding-top: .9rem; }
td.best { font-weight: 650; }
td.shade { background: rgb(var(--accent) / var(--part)); min-width: 4rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem 1.6rem; }
.charts h3 { margin-top: .4rem; }
figure { margin: .6rem 0; min-width: 0; }
.chart svg { display: block; width: 100%; max-width: 30rem; height: auto; }
.chart text { font-family: inherit !important; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .2rem 0; padding: 0; list-style: none; font-size: .87rem; }
.legend i { display: inline-block; width: 1.1rem; border-top: .22rem solid; border-radius: 1px; margin-right: .4rem;
  vertical-align: .22em; }
.bars { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr max-content; gap: .1rem .8rem; align-items: center;
  margin: .8rem 0; max-width: 50rem; font-size: .92rem; font-variant-numeric: tabular-nums; }
.bars .label, .bars .group { margin-top: .35rem; }
.bars .group { grid-column: 1 / -1; color: var(--muted); font-size: .87rem; }
.bars .label { grid-column: 1; }
.bars .track { grid-column: 2; position: relative; height: .6rem; }
.bars .label + .track, .bars .label + .track + .value { margin-top: .35rem; }
.bars .track b, .bars .track i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 0 2px 2px 0; min-width: 1px; }
.bars .track i { opacity: .28; }
.bars .value { text-align: right; line-height: 1.3; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--cell)), 1fr)); gap: 1.1rem;
  margin: 1rem 0; }
.pictures figure { margin: 0; }
.pictures .pair { display: grid; grid-template-columns: repeat(var(--count), minmax(0, 1fr)); gap: .3rem; }
.pictures img { display: block; width: 100%; height: auto; border-radius: .25rem; background: var(--card); }
.pictures small { display: block; color: var(--muted); }
@media (max-width: 40rem) { .pictures .pair, dl { grid-template-columns: minmax(0, 1fr); } dd { border: none; padding-top: 0; }
  .bars { grid-template-columns: 1fr max-content; } .bars .label { grid-column: 1 / -1; } .bars .track { grid-column: 1; }
  .bars .label + .track, .bars .label + .track + .value { margin-top: 0; } }
.findings { list-style: none; padding: 0; margin: .8rem 0; display: grid; gap: .6rem; }
.findings li.finding { border-left: .25rem solid var(--mark); background: var(--card); border-radius: 0 .4rem .4rem 0;
  padding: .55rem .9rem; }
.finding .kind { color: var(--mark); font-weight: 600; margin-right: .5rem; }
.finding ul { margin: .3rem 0; padding-left: 1.1rem; font-size: .92rem; }
.error { --mark: var(--bad); } .warning { --mark: var(--warn); } .note { --mark: var(--note); } .ok { --mark: var(--good); }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: .6rem; }
@media print { body { max-width: none; } .scroll { overflow: visible; } figure, .finding { break-inside: avoid; } }
"""
