// The console's own script: keys, copying, the theme, live refresh and charts. Pages work without it, less live.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const secure = location.protocol === "https:" ? ";secure" : "";
  const keep = (name, value) => { document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=strict${secure}`; };

  // The server writes times in the visitor's zone; this tells it which one that is.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && /^[\w+\-/]{1,64}$/.test(zone) && !document.cookie.includes(`airboss_tz=${zone}`)) keep("airboss_tz", zone);

  // Theme: the switch works at once, the cookie tells the server.
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const themeButton = $("#theme");
  if (themeButton) themeButton.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    keep("airboss_theme", next);
    drawCharts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts());

  // Copying: the button is there only where it works.
  const showCopy = () => { for (const button of $$(".copy[data-copy]")) button.hidden = false; };
  const copied = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const label = $("span", button), before = label.textContent;
    try {
      await navigator.clipboard.writeText(source.title || source.textContent);
      label.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      label.textContent = "Selected: press Ctrl+C";
    }
    label.setAttribute("role", "status");
    setTimeout(() => { label.textContent = before; label.removeAttribute("role"); }, 1600);
  };

  // Rows: j and k move, Enter opens, a click anywhere opens unless it selects text.
  const rows = () => $$("table[data-rows] tbody tr");
  const selected = () => rows().findIndex((row) => row.getAttribute("aria-selected") === "true");
  const select = (index) => {
    const all = rows();
    if (!all.length) return;
    const to = Math.max(0, Math.min(all.length - 1, index));
    all.forEach((row, i) => row.toggleAttribute("data-at", i === to) || row.removeAttribute("aria-selected"));
    all[to].setAttribute("aria-selected", "true");
    $("a", all[to]).focus({ preventScroll: true });
    all[to].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy[data-copy]");
    if (button) return void copied(button);
    const row = event.target.closest("table[data-rows] tbody tr");
    if (row && !event.target.closest("a, button") && !String(getSelection())) {
      const href = $("a", row).href;
      if (event.metaKey || event.ctrlKey) open(href, "_blank", "noopener"); else location.assign(href);
    }
    for (const details of $$("details.custom[open]")) if (!details.contains(event.target)) details.open = false;
  });

  const keysButton = $("#show-keys");
  if (keysButton) {
    keysButton.hidden = false;
    keysButton.addEventListener("click", () => $("#keys").showModal());
  }

  let leader = 0;
  const place = (key) => (/^[a-z]$/.test(key) ? $(`[data-key="${key}"]`) : null);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape") {
      if (typing) typing.blur();
      for (const details of $$("details.custom[open]")) details.open = false;
      return;
    }
    const search = $("#search"), keys = $("#keys");
    if ((event.ctrlKey || event.metaKey) && event.key === "k" && search) { event.preventDefault(); search.focus(); search.select(); }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    if (Date.now() - leader < 1200 && place(event.key)) { leader = 0; return void location.assign(place(event.key).href); }
    const press = /^[1-9csu]$/.test(event.key) && $(`[data-press="${event.key}"]`);
    if (press) { event.preventDefault(); press.click(); return void (press.matches("summary") && $("textarea", press.parentNode).focus()); }
    leader = event.key === "g" ? Date.now() : 0;
    if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "?" && keys) keys.showModal();
    else if (event.key === "j" || event.key === "k") {
      const step = event.key === "j" ? 1 : -1, link = $(step > 0 ? "#older" : "#newer");
      if (rows().length) { event.preventDefault(); select(selected() + step); } else if (link) link.click();
    } else if (event.key === "Enter" && selected() >= 0 && !event.target.closest("a, button, summary")) {
      location.assign($("a", rows()[selected()]).href);
    }
  });
  for (const each of $$("input[data-into]")) each.closest("label").hidden = false;
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
    if (event.target.matches("input[data-into]")) event.target.files[0]?.text().then((text) => { $(`#${event.target.dataset.into}`).value = text; });
  });
  // A form that is refused stays as it was written, and says why.
  const refused = (form, words) => {
    const said = document.createElement("p");
    said.className = "problem";
    said.setAttribute("role", "alert");
    said.textContent = words;
    (form.querySelector("button:last-of-type").closest(".ways") || form.querySelector("button:last-of-type")).before(said);
    said.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (event.defaultPrevented || !form.matches('[method="post"]:has(> [name="back"])')) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy")) return;
    for (const said of $$(".problem", form)) said.remove();
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)), headers: { accept: "application/json" } });
      if (answer.redirected) return void location.assign(answer.url);
      if (answer.ok && answer.headers.get("content-type").startsWith("application/json")) return void location.assign((await answer.json()).next);
      const page = await answer.text();
      if (answer.ok) { document.open(); document.write(page); return void document.close(); }
      const said = $(".said, dd", new DOMParser().parseFromString(page, "text/html"));
      refused(form, said ? said.textContent : `Nothing was changed: ${answer.status}`);
    } catch {
      refused(form, "Airboss does not answer. Look whether it was done before you send it again.");
    }
    form.removeAttribute("aria-busy");
  });
  // What is being written into a form must not be taken away by a refresh.
  document.addEventListener("htmx:before:request", (event) => { if (event.target.id === "live" && $("#live .doing[open]")) event.preventDefault(); });
  document.addEventListener("htmx:config:request", (event) => {
    // Empty fields stay out of the address.
    const body = event.detail.ctx.request.body;
    if (body instanceof FormData) for (const [name, value] of [...body]) if (value === "") body.delete(name);
  });

  // The sticky table head stands right below the bar, however high that is.
  const bar = $(".bar");
  const measure = () => {
    if (bar) document.documentElement.style.setProperty("--bar", getComputedStyle(bar).position === "sticky" ? `${bar.offsetHeight}px` : "0px");
  };
  addEventListener("resize", measure);

  // Charts.
  let plots = [], tip = null;
  const ink = {};
  const probe = document.createElement("span");
  probe.hidden = true;
  const colour = (name, className = "") => {
    probe.className = className;
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const number = (value, digits) => value.toLocaleString("en-US", { maximumFractionDigits: digits });
  const short = (value) => {
    for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= limit) return `${number(value / limit, value < 10 * limit ? 1 : 0)}${unit}`;
    return number(value, Math.abs(value) < 1 ? 3 : Math.abs(value) < 10 ? 1 : 0);
  };
  const span = (ms) => (ms === 0 ? "0" : ms < 10 ? `${number(ms, 2)} ms` : ms < 1000 ? `${number(ms, 0)} ms` : ms < 120000 ? `${number(ms / 1000, 1)} s` : `${number(ms / 60000, 1)} min`);
  const KINDS = {
    requests: { of: (line) => line.requests, words: (v) => number(v, v < 10 ? 2 : 0) },
    errors: { of: (line) => line.errors, n: (line) => line.ended, words: (v) => `${number(v, 2)} %`, axis: (v) => `${number(v, 1)} %`, least: 1 },
    latency: { of: (line) => line.p95, words: span, axis: span, also: (line) => line.p50 },
    ttft: { of: (line) => line.ttft, words: span, axis: span },
    tokens: { of: (line) => line.tokens, words: (v) => number(v, v < 10 ? 2 : 0) },
    cost: { of: (line) => line.cost, words: (v) => `$${number(v, v < 0.1 ? 4 : 2)}` },
  };
  const valued = (words, least) => ({ of: (line) => line.value, words, axis: words, least });
  Object.assign(KINDS, { percent: valued(KINDS.errors.words, 1), ms: valued(span), usd: valued(KINDS.cost.words), count: valued(KINDS.requests.words) });
  const DASHES = [[], [5, 3], [2, 2], [8, 3, 2, 3]];
  const FAMILIES = [0, 1, 3, 1, 2, 3, 0, 2, 2, 1, 3, 0]; // hues that look alike: teal, blue, violet, pink

  const stamp = (seconds, data) => new Intl.DateTimeFormat("en-GB", {
    timeZone: data.zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: data.step_s < 60 ? "2-digit" : undefined,
  }).format(new Date(seconds * 1000));

  const showTip = (plot, kind, data) => {
    const index = plot.cursor.idx;
    if (index == null || plot.cursor.left < 0 || !plot.over.matches(":hover")) { if (tip && tip.plot === plot) tip.hidden = true; return; }
    if (!tip) { tip = document.createElement("div"); tip.className = "tip"; document.body.append(tip); }
    tip.plot = plot;
    tip.replaceChildren();
    const at = document.createElement("div");
    at.className = "at";
    at.textContent = `${stamp(data.x[index], data)} to ${stamp(Math.min(data.x[index] + data.step_s, data.until), data).split(", ").pop()}`;
    const table = document.createElement("table");
    data.lines.forEach((line, i) => {
      const value = kind.of(line)[index];
      if (value == null && !line.n[index]) return;
      const row = table.insertRow(), name = row.insertCell(), shown = row.insertCell();
      const swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.color = line.ink; swatch.style.marginRight = "6px";
      name.append(swatch, line.deployment);
      shown.className = "num";
      shown.textContent = value == null ? "no data" : kind.words(value);
      if (kind.also && kind.also(line)[index] != null) shown.textContent += `, p50 ${span(kind.also(line)[index])}`;
      const n = row.insertCell();
      n.className = "num n"; n.textContent = `n ${(kind.n ? kind.n(line) : line.n)[index]}`;
    });
    if (!table.rows.length) table.insertRow().insertCell().textContent = "no calls";
    tip.append(at, table);
    tip.hidden = false;
    const box = plot.over.getBoundingClientRect(), x = box.left + plot.cursor.left;
    const left = x + 16 + tip.offsetWidth > innerWidth ? x - 16 - tip.offsetWidth : x + 16;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.min(box.top + 8, innerHeight - tip.offsetHeight - 8)}px`;
  };

  const marks = (data) => (plot) => {
    const { ctx } = plot, ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = ink.muted;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.font = `${10 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "alphabetic";
    for (const [at] of data.marks) {
      const x = Math.round(plot.valToPos(at, "x", true));
      ctx.beginPath(); ctx.moveTo(x, plot.bbox.top); ctx.lineTo(x, plot.bbox.top + plot.bbox.height); ctx.stroke();
    }
    ctx.save(); // around words no line is seen
    ctx.strokeStyle = ink.surface; ctx.lineWidth = 4 * ratio; ctx.lineJoin = "round"; ctx.setLineDash([]);
    let free = 0; // words that would stand on others are left out; the line says that something changed
    for (const [at, words] of data.marks) {
      const x = Math.round(plot.valToPos(at, "x", true));
      const width = ctx.measureText(words).width + 4 * ratio;
      const late = x + width > plot.bbox.left + plot.bbox.width, start = late ? x - width : x;
      if (start < free) continue;
      free = start + width + 8 * ratio;
      ctx.textAlign = late ? "right" : "left";
      const place = [words, x + (late ? -4 : 4) * ratio, plot.bbox.top + 9 * ratio];
      ctx.strokeText(...place);
      ctx.fillText(...place);
    }
    ctx.restore();
    if (data.bound != null) { // what the values are compared with
      const y = Math.round(plot.valToPos(data.bound, "y", true)), right = plot.bbox.left + plot.bbox.width;
      ctx.strokeStyle = ctx.fillStyle = ink.bad;
      ctx.beginPath(); ctx.moveTo(plot.bbox.left, y); ctx.lineTo(right, y); ctx.stroke();
      ctx.textAlign = "right";
      ctx.fillText(data.bound_words, right - 4 * ratio, y - 4 * ratio);
    }
    ctx.restore();
  };

  const options = (kind, data, box) => {
    const grid = { stroke: ink.line, width: 1 }, font = "11px system-ui, sans-serif";
    const sparse = data.lines.every((line) => line.n.filter(Boolean).length < 12);
    const band = kind.also && data.lines.length === 1;
    const series = data.lines.flatMap((line) => {
      const own = { label: line.deployment, stroke: line.ink, width: 1.5, dash: DASHES[line.dash], spanGaps: false,
        points: { show: sparse || undefined, size: 5, width: 1.5, filter: (plot, at, show) => { // and those that no line leads to or from
          const y = plot.data[at];
          return y.flatMap((value, i) => (value != null && (show ? line.n[i] : y[i - 1] == null && y[i + 1] == null) ? [i] : []));
        } }, fill: data.lines.length === 1 && !band ? line.wash : undefined };
      return band ? [own, { ...own, width: 1, dash: [2, 2], points: { show: false } }] : [own];
    });
    return {
      width: box.clientWidth, height: box.clientHeight, legend: { show: false }, padding: [8, 18, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), data.zone),
      scales: {
        x: { time: true, range: () => [data.since, data.until] },
        y: { range: (_, low, high) => [0, Math.max((high || 0) * 1.12, (data.bound || 0) * 1.25, kind.least || 0) || 1] },
      },
      axes: [
        { stroke: ink.muted, font, grid: { show: false }, ticks: { ...grid, size: 4 }, size: 24, gap: 3, space: 56,
          values: (_, splits) => splits.map((at) => axisTime(at, data)) },
        { stroke: ink.muted, font, grid, ticks: { show: false }, size: 50, gap: 6, space: 30, values: (_, splits) => splits.map(kind.axis || short) },
      ],
      series: [{}, ...series],
      bands: band ? [{ series: [1, 2], fill: data.lines[0].wash }] : [],
      cursor: { sync: { key: "airboss", setSeries: false }, y: false, drag: { x: true, y: false, setScale: false, dist: 6 }, points: { size: 6 } },
      hooks: {
        draw: [marks(data)],
        setCursor: [(plot) => showTip(plot, kind, data)],
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width > 5 && plot.over.matches(":hover")) zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
        }],
      },
    };
  };
  const axisTime = (at, data) => {
    const parts = Object.fromEntries(new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" })
      .formatToParts(new Date(at * 1000)).map((part) => [part.type, part.value]));
    return parts.hour === "00" && parts.minute === "00" ? `${parts.day} ${parts.month}` : `${parts.hour}:${parts.minute}`;
  };
  // Brushing a chart narrows everything to that stretch; the address keeps it.
  const zoom = (from, to) => {
    const address = new URL(location.href);
    address.searchParams.delete("range");
    address.searchParams.set("since", new Date(from * 1000).toISOString());
    address.searchParams.set("until", new Date(to * 1000).toISOString());
    location.assign(address);
  };

  const drawCharts = () => {
    const source = $("#chart-data");
    if (!source || typeof uPlot === "undefined") return;
    for (const plot of plots) plot.destroy();
    plots = [];
    if (tip) tip.hidden = true;
    const data = JSON.parse(source.textContent);
    document.body.append(probe);
    for (const name of ["line", "muted", "bad", "surface"]) ink[name] = colour(`--${name}`);
    const seen = {};
    for (const line of data.lines) {
      line.ink = colour("--hue", `r${line.hue}`);
      const family = FAMILIES[line.hue % 12];
      line.dash = (seen[family] = (seen[family] ?? -1) + 1) % DASHES.length;
      line.wash = line.ink.replace(/\)$/, " / 14%)");
    }
    for (const sample of $$("[data-sample]")) {
      const line = data.lines.find((each) => each.deployment === sample.dataset.sample);
      if (line) sample.setAttribute("stroke-dasharray", DASHES[line.dash].join(" "));
    }
    for (const figure of $$("[data-chart]")) {
      const kind = KINDS[figure.dataset.chart], box = $(".plot", figure);
      box.replaceChildren();
      const any = data.lines.some((line) => kind.of(line).some((value) => value != null) && line.n.some(Boolean));
      if (!any) {
        const nothing = document.createElement("div");
        nothing.className = "nothing";
        nothing.textContent = data.lines.length && figure.dataset.chart === "cost" ? "no price known" : "no data";
        box.append(nothing);
      }
      const band = kind.also && data.lines.length === 1;
      const columns = any ? data.lines.flatMap((line) => (band ? [kind.of(line), kind.also(line)] : [kind.of(line)])) : [];
      plots.push(new uPlot(options(kind, any ? data : { ...data, lines: [] }, box), [data.x, ...columns], box));
    }
    probe.remove();
  };
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawCharts, 120); });

  // Live: the server says when there is something new; the page then fetches itself and morphs.
  const beat = $("#beat"), live = $("#live[hx-get]"), fresh = () => $("#fresh");
  let source = null, due = 0, slow = 50, asked = 0;
  const paused = () => sessionStorage.getItem("airboss-paused") === "1";
  const say = (state) => { beat.dataset.state = state; beat.setAttribute("aria-pressed", String(state !== "paused")); $(".word", beat).textContent = { live: "live", paused: "paused", lost: "reconnecting", stale: "not up to date" }[state]; };
  const refresh = () => {
    due = 0;
    asked = performance.now();
    $("#live").dispatchEvent(new CustomEvent("airboss:changed"));
  };
  const changed = (news) => {
    const link = fresh();
    if (link && link.dataset.newest !== news.newest && link.dataset.newest) link.hidden = false;
    // A refresh costs what it costs: never spend more than a twentieth of the time on it.
    if (live && !due) due = setTimeout(refresh, Math.max(0, asked + Math.max(1000, 20 * slow) - performance.now()));
  };
  // A refresh that is answered with something else, an error or the login, must not take away what is shown.
  document.addEventListener("htmx:after:request", (event) => {
    if (event.target.id !== "live") return;
    const good = event.detail.ctx.text.includes(' id="live"');
    if (!good) event.preventDefault();
    if (beat && beat.dataset.state !== "paused") say(good ? "live" : "stale");
  });
  const listen = () => {
    if (source) source.close();
    source = null;
    if (paused() || document.hidden) return void say("paused");
    source = new EventSource("/events");
    source.onopen = () => say("live");
    source.onerror = () => say("lost");
    source.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
  };
  if (beat && (live || fresh())) {
    beat.hidden = false;
    beat.title = "Pause or go on with live updates";
    beat.addEventListener("click", () => { sessionStorage.setItem("airboss-paused", paused() ? "0" : "1"); listen(); });
    document.addEventListener("visibilitychange", listen);
    document.addEventListener("htmx:after:swap", () => { if (asked) slow = performance.now() - asked; drawCharts(); showCopy(); });
    listen();
  }
  // Where a text is wrong, that line is chosen; leaving the field and coming back brings it into view.
  const wrong = $("textarea[data-line]");
  if (wrong) {
    const lines = wrong.value.split("\n"), at = Number(wrong.dataset.line) - 1;
    const start = lines.slice(0, at).reduce((sum, line) => sum + line.length + 1, 0);
    wrong.focus({ preventScroll: true });
    wrong.setSelectionRange(start, start + (lines[at] || "").length);
    wrong.scrollTop = Math.max(0, (wrong.scrollHeight * at) / lines.length - wrong.clientHeight / 3);
  }
  // A piece that a link leads to is open.
  const piece = location.hash.startsWith("#piece-") && $(`details${location.hash.replace(/[^#\w-]/g, "")}`);
  if (piece) piece.open = true;
  measure();
  showCopy();
  drawCharts();
})();
