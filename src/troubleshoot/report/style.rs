//! How the page looks: in light and dark, on a phone, a desk and paper. Nothing is loaded from elsewhere.
//! Paper cannot be unfolded: what is folded on a screen is printed.
#![forbid(unsafe_code)]

pub const CSS: &str = "
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#566072;--line:#dfe3ea;--blue:#1f5fa8;--fill:#d9e6f5;
--code:#f1f3f6;--critical:#b3201f;--warning:#8a5300;--info:#1f5fa8;--unknown:#5a5f6b;--ok:#1d6b3f;
--critical-bg:#fbe6e5;--warning-bg:#fcefd6;--info-bg:#e2edf9;--unknown-bg:#e9ebef;--ok-bg:#e0f2e7}
@media (prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2029;--ink:#e6eaf0;--soft:#a3adbb;--line:#2e3744;--blue:#7db8f7;--fill:#23405f;
--code:#12171e;--critical:#ff9d96;--warning:#f5c069;--info:#8fc2fa;--unknown:#b9c0cb;--ok:#7ed6a3;
--critical-bg:#481f1e;--warning-bg:#40300f;--info-bg:#1b3550;--unknown-bg:#2c333d;--ok-bg:#163a27}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;-webkit-text-size-adjust:100%}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:24px;line-height:1.25;margin:0;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:17px;margin:36px 0 10px;font-weight:650}
h3{font-size:14px;margin:0 0 6px;font-weight:600}
p{margin:4px 0}
.soft,footer{color:var(--soft);font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px}
.grid{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(100%,310px),1fr))}
.tiles{display:grid;gap:12px;grid-template-columns:repeat(4,minmax(0,1fr));margin:18px 0 0;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tiles b{display:block;font-size:21px;line-height:1.3;font-weight:600;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:13px}
.state{display:inline-block;margin:10px 0 0;padding:5px 12px;border-radius:6px;font-weight:600}
.badge{display:inline-block;min-width:68px;text-align:center;padding:1px 8px;border-radius:5px;font-size:12.5px;font-weight:600}
.critical{color:var(--critical);background:var(--critical-bg)}.warning{color:var(--warning);background:var(--warning-bg)}
.info{color:var(--info);background:var(--info-bg)}.unknown{color:var(--unknown);background:var(--unknown-bg)}.ok{color:var(--ok);background:var(--ok-bg)}
.finding{border-top:1px solid var(--line);padding:12px 0}
.finding:first-child{border-top:0;padding-top:0}.finding:last-child{padding-bottom:0}
.finding h3{display:flex;gap:8px 10px;flex-wrap:wrap;align-items:baseline;margin:0 0 4px}
.finding h3 span:last-child,td.main,td.long,code{overflow-wrap:anywhere}td{overflow-wrap:break-word}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
pre{margin:8px 0 0;padding:8px 10px;background:var(--code);border:1px solid var(--line);border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:7px 10px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);font-size:14px}
th{color:var(--soft);font-weight:600;font-size:13px;white-space:nowrap}th.main,th.long{min-width:104px}
tr:last-child td{border-bottom:0}
th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap}
svg{display:block;width:100%;height:auto;max-width:430px}
svg text{fill:var(--soft);font:11px system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif}
svg .v{fill:var(--ink)}
.axis{stroke:var(--line);stroke-width:1}.line{fill:none;stroke:var(--blue);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.area{fill:var(--fill);opacity:.55}.bar{fill:var(--blue)}.track{fill:var(--line)}.dot{fill:var(--blue)}
.meter{height:6px;margin-top:5px}
details{margin-top:10px}summary{cursor:pointer;color:var(--soft);font-size:14px}
summary:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
footer{padding-top:28px;padding-bottom:36px}
@media (max-width:640px){
main,header,footer{padding-left:14px;padding-right:14px}
table,tbody,tr,td{display:block}.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px}thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tr{padding:9px 0;border-bottom:1px solid var(--line)}tr:first-child{padding-top:0}tr:last-child{border-bottom:0;padding-bottom:0}
td{display:grid;grid-template-columns:112px minmax(0,1fr);gap:2px 10px;border:0;padding:1px 0;text-align:left;white-space:normal}
td.n{text-align:left;white-space:normal}td::before{content:attr(data-label);color:var(--soft);font-size:13px}
td:has(>span:empty){display:none}td.main{display:block;padding-bottom:3px}td.main::before{content:none}
}
@media print{
@page{margin:14mm 12mm 16mm;@bottom-right{content:counter(page) ' / ' counter(pages);font:8pt sans-serif;color:#444}}
:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--code:#fff;--blue:#1f5fa8;--fill:#d9e6f5;
--critical:#8f1413;--warning:#6e4200;--info:#174a85;--unknown:#444;--ok:#14512f;
--critical-bg:#fff;--warning-bg:#fff;--info-bg:#fff;--unknown-bg:#fff;--ok-bg:#fff}
body{font-size:10pt}main,header,footer{max-width:none;padding:0 1px}.tiles{margin-top:12px}
h2{margin-top:22px}th,td{font-size:9pt;padding:4px 8px}th{font-size:8.5pt}code,pre{font-size:8.5pt}
section>.card{padding:0;border:0}.finding{padding:8px 0}
.grid .card,.finding,tr,.tiles li{break-inside:avoid}h2,h3,summary{break-after:avoid}thead{display:table-header-group}
.badge,.state{border:1px solid currentColor}footer{padding-top:18px}
summary{list-style:none}details::details-content{content-visibility:visible;block-size:auto}
}
";
