package chart

// svgHead begins a document: size, title, and the colours for light and dark. Hues are far
// apart for people who don't tell red from green, and heights tell the states as well.
const svgHead = `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" role="img">
<title>%s</title>
<style>
:root{color-scheme:light dark;--bg:#ffffff;--ink:#1b1f24;--dim:#57606a;--grid:#e4e8ec;--rule:#9aa4ae;--lane:#f4f6f8;--best:#0b6b4f;
--r0:#0f766e;--r1:#2a9d8f;--r2:#62b6cb;--r3:#8fa9d6;--re:#a9b2bb;--nw:#cfd5da;--he:#d98c00;--bl:#b0529c;
--j0:#a8d5f2;--j1:#ffd39b;--j2:#b5e2b0;--j3:#f3b8c4;--j4:#d3c3ee;--j5:#f0e08f;--j6:#a5dfd8;--j7:#dcc7b3}
@media (prefers-color-scheme:dark){:root{--bg:#0f1419;--ink:#e6eaee;--dim:#9aa6b2;--grid:#232b33;--rule:#56616d;--lane:#171d24;--best:#5fd6ae;
--r0:#5eead4;--r1:#2fb5a5;--r2:#3f8fb0;--r3:#5a74ae;--re:#65707b;--nw:#414a54;--he:#f0a830;--bl:#d882c4;
--j0:#1f5f8b;--j1:#8a5a14;--j2:#2f6b2b;--j3:#8c3a4e;--j4:#5b4391;--j5:#73671a;--j6:#1f6c64;--j7:#6b5440}}
svg{background:var(--bg)}
text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
.h1{font-size:20px;font-weight:600}.h2{font-size:15px;font-weight:600}.dim{fill:var(--dim)}.in{pointer-events:none}
.fig{font-weight:600}.best{font-weight:700;fill:var(--best)}
.bg{fill:var(--bg)}.lane{fill:var(--lane);fill-opacity:.65}.grid{stroke:var(--grid)}.rule{stroke:var(--rule)}
.r0{fill:var(--r0)}.r1{fill:var(--r1)}.r2{fill:var(--r2)}.r3{fill:var(--r3)}.re{fill:var(--re)}.nw{fill:var(--nw)}.he{fill:var(--he)}.bl{fill:var(--bl)}
.j0{fill:var(--j0)}.j1{fill:var(--j1)}.j2{fill:var(--j2)}.j3{fill:var(--j3)}.j4{fill:var(--j4)}.j5{fill:var(--j5)}.j6{fill:var(--j6)}.j7{fill:var(--j7)}
</style>
<rect class="bg" width="100%%" height="100%%"/>
`
