
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

  // ------------------------------------------------------------------------------------------------
  // Where things lie: degrees to the plane and back. North is up; on the sky east is to the left.

  const sky = data.body === "sky";
  const [west, south, east, north] = data.bounds;
  const middle = [(west + east) / 2, (south + north) / 2];
  const side = sky ? -1 : 1;
  const radians = Math.PI / 180;
  const EDGE = 85.05112878; // where Web Mercator is as high as it is wide
  const plane = data.basemap
    ? {
        across: 1,
        up: (lat) => Math.asinh(Math.tan(clamp(lat, -EDGE, EDGE) * radians)) / radians,
        lat: (y) => Math.atan(Math.sinh(y * radians)) / radians,
        pole: EDGE,
      }
    : { across: Math.cos(data.parallel * radians), up: (lat) => lat, lat: (y) => y, pole: 90 };
  const zero = plane.up(middle[1]);
  const toX = (lon) => side * (lon - middle[0]) * plane.across;
  const toY = (lat) => plane.up(lat) - zero;
  const toLon = (x) => middle[0] + (side * x) / plane.across;
  const toLat = (y) => plane.lat(y + zero);
  const top = toY(plane.pole);
  const bottom = toY(-plane.pole);
  const half = 180 * plane.across;

  // ------------------------------------------------------------------------------------------------
  // What there is

  const ring = (steps) => {
    const line = new Float64Array(steps.length);
    for (let n = 0, lon = 0, lat = 0; n < steps.length; n += 2) {
      lon += steps[n];
      lat += steps[n + 1];
      line[n] = toX(lon / data.unit);
      line[n + 1] = toY(lat / data.unit);
    }
    return line;
  };
  const shape = (parts) => {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const drawn = parts.map(([kind, ...rings]) => ({ kind, rings: rings.map(ring) }));
    for (const part of drawn) {
      for (let n = 0; n < part.rings[0].length; n += 2) {
        const [x, y] = [part.rings[0][n], part.rings[0][n + 1]];
        box[0] = Math.min(box[0], x);
        box[1] = Math.min(box[1], y);
        box[2] = Math.max(box[2], x);
        box[3] = Math.max(box[3], y);
      }
    }
    return { parts: drawn, box };
  };
  const area = shape(data.area);
  const stacks = data.stacks.map(([key, colour, count]) => ({ key, colour, count, on: true, scenes: [] }));
  const scenes = data.features.map(([id, start, length, stack, bytes, texts, parts]) => {
    const scene = {
      id, start, bytes,
      stop: length === null ? null : start + length,
      stack: stacks[stack],
      texts: texts.map((number, field) => data.texts[field][number]),
      day: start === null ? null : Math.floor(start / 86400),
      ...shape(parts),
    };
    scene.stack.scenes.push(scene);
    return scene;
  });
  const days = scenes.filter((scene) => scene.day !== null).map((scene) => scene.day);
  const ends = days.reduce(([a, b], day) => [Math.min(a, day), Math.max(b, day)], [Infinity, -Infinity]);
  const period = [...ends];
  const alive = (scene) =>
    scene.stack.on &&
    (scene.day === null
      ? period[0] <= ends[0] && period[1] >= ends[1]
      : scene.day >= period[0] && scene.day <= period[1]);

  const state = { selected: null, hovered: null, list: [], lines: null, drawn: null };

  // ------------------------------------------------------------------------------------------------
  // Words

  const count = (number) => number.toLocaleString("en");
  const date = (seconds) => (seconds === null ? "no date" : new Date(seconds * 1000).toISOString().slice(0, 10));
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
  const called = (stack) => stack.key || "no stack";
  const size = (bytes) => {
    let unit = 0;
    while (bytes >= 1000 && unit < 4) {
      bytes /= 1000;
      unit += 1;
    }
    return `${unit ? bytes.toFixed(1) : bytes} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
  };
  const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const sixty = (value, step, [whole, minutes, seconds]) => {
    const digits = decimals(step * 3600);
    let rest = Math.round(value * 3600 * 10 ** digits);
    const per = 60 * 10 ** digits;
    const second = (rest % per) / 10 ** digits;
    rest = Math.floor(rest / per);
    let text = `${Math.floor(rest / 60)}${whole}`;
    if (step < 1) text += `${String(rest % 60).padStart(2, "0")}${minutes}`;
    if (step < 1 / 60 - 1e-12) text += `${second.toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}${seconds}`;
    return text;
  };
  const round = (lon) => lon - 360 * Math.floor((lon + 180) / 360);
  const meridian = (lon, step) => {
    if (sky) {
      // Rounded first: 24 hours are none.
      const least = 3600 * 10 ** decimals((step / 15) * 3600);
      const hours = Math.round((((lon / 15) % 24) + 24) * least) / least;
      return sixty(hours % 24, step / 15, "ʰᵐˢ");
    }
    const text = Math.abs(round(lon)).toFixed(decimals(step));
    return `${text}°${Number(text) % 180 === 0 ? "" : round(lon) > 0 ? "E" : "W"}`;
  };
  const parallel = (lat, step) => {
    if (sky) return `${lat > step / 1e6 ? "+" : lat < -step / 1e6 ? "−" : ""}${sixty(Math.abs(lat), step, "°′″")}`;
    const text = Math.abs(lat).toFixed(decimals(step));
    return `${text}°${Number(text) === 0 ? "" : lat > 0 ? "N" : "S"}`;
  };
  const line = (scene) =>
    [date(scene.start), ...["Path", "Frame"].map((name) => {
      const text = scene.texts[data.fields.indexOf(name)];
      return text && `${name.toLowerCase()} ${text}`;
    })].filter(Boolean).join(" · ");

  // ------------------------------------------------------------------------------------------------
  // The view: a middle in the plane, and pixels for a degree there

  const canvas = at("map");
  const pen = canvas.getContext("2d");
  const view = { x: 0, y: 0, scale: 1, width: 1, height: 1, touched: false };
  const HIGHEST = data.unit * 2;
  const screenX = (x) => view.width / 2 + (x - view.x) * view.scale;
  const screenY = (y) => view.height / 2 - (y - view.y) * view.scale;
  const planeX = (px) => view.x + (px - view.width / 2) / view.scale;
  const planeY = (py) => view.y - (py - view.height / 2) / view.scale;
  const lowest = () => 0.8 * Math.min(view.width / (2 * half), view.height / (top - bottom));

  const look = (x, y, scale) => {
    view.scale = clamp(scale, lowest(), HIGHEST);
    view.x = clamp(x, -half, half);
    view.y = clamp(y, bottom, top);
    redraw();
  };
  const zoom = (factor, px = view.width / 2, py = view.height / 2) => {
    view.touched = true;
    const [x, y] = [planeX(px), planeY(py)];
    const scale = clamp(view.scale * factor, lowest(), HIGHEST);
    look(x - (px - view.width / 2) / scale, y + (py - view.height / 2) / scale, scale);
  };
  const move = (dx, dy) => {
    view.touched = true;
    look(view.x - dx / view.scale, view.y + dy / view.scale, view.scale);
  };
  const show = ([x0, y0, x1, y1], least) => {
    const edge = Math.min(72, view.width / 8, view.height / 8);
    const wide = Math.max(x1 - x0, least);
    const high = Math.max(y1 - y0, least);
    const scale = Math.min((view.width - 2 * edge) / wide, (view.height - 2 * edge) / high);
    look((x0 + x1) / 2, (y0 + y1) / 2, scale);
  };
  const fit = () => {
    const xs = [toX(west), toX(east)];
    show([Math.min(...xs), toY(south), Math.max(...xs), toY(north)], 2000 / data.unit);
    view.touched = false;
  };
  const reveal = (scene) => {
    const [x0, y0, x1, y1] = scene.box;
    const [px, py] = [screenX((x0 + x1) / 2), screenY((y0 + y1) / 2)];
    const outside = px < 0 || py < 0 || px > view.width || py > view.height;
    const tiny = Math.max(x1 - x0, y1 - y0) * view.scale < 24;
    if (!outside && !tiny) return;
    view.touched = true;
    const grow = Math.max(x1 - x0, y1 - y0) * 1.5;
    show([x0 - grow, y0 - grow, x1 + grow, y1 + grow], 2000 / data.unit);
  };

  // ------------------------------------------------------------------------------------------------
  // What lies under a pixel

  const REACH = 6;
  const inside = (rings, x, y) => {
    let odd = false;
    for (const points of rings) {
      for (let n = 0, last = points.length - 2; n < points.length; last = n, n += 2) {
        const [ax, ay, bx, by] = [points[n], points[n + 1], points[last], points[last + 1]];
        if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
      }
    }
    return odd;
  };
  const near = (points, x, y, reach) => {
    for (let n = 0; n < points.length; n += 2) {
      const [ax, ay] = [points[n], points[n + 1]];
      const [bx, by] = n + 2 < points.length ? [points[n + 2], points[n + 3]] : [ax, ay];
      const length = (bx - ax) ** 2 + (by - ay) ** 2;
      const along = length ? clamp(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1) : 0;
      if (Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= reach) return true;
    }
    return false;
  };
  const tiny = (scene) => Math.max(scene.box[2] - scene.box[0], scene.box[3] - scene.box[1]) * view.scale < 2 * REACH;
  const under = (px, py) => {
    const [x, y, reach] = [planeX(px), planeY(py), REACH / view.scale];
    const found = [];
    // What was drawn last lies on top.
    for (let n = scenes.length - 1; n >= 0; n -= 1) {
      const scene = scenes[n];
      const [x0, y0, x1, y1] = scene.box;
      if (x < x0 - reach || y < y0 - reach || x > x1 + reach || y > y1 + reach || !alive(scene)) continue;
      const hit =
        tiny(scene) ||
        scene.parts.some((part) => (part.kind === "po" ? inside(part.rings, x, y) : near(part.rings[0], x, y, reach)));
      if (hit) found.push(scene);
    }
    return found;
  };

  // ------------------------------------------------------------------------------------------------
  // Drawing

  const colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["map", "ink", "muted", "grid", "line", "accent", "panel", "soft"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  };

  const trace = (points, closed) => {
    pen.moveTo(screenX(points[0]), screenY(points[1]));
    for (let n = 2; n < points.length; n += 2) pen.lineTo(screenX(points[n]), screenY(points[n + 1]));
    if (closed) pen.closePath();
  };
  // Turned as the shells are: what lies over each other then stays filled.
  const square = (x, y, r) => {
    const [a, b] = sky ? [-r, r] : [r, -r];
    pen.moveTo(x + b, y + r);
    pen.lineTo(x + a, y + r);
    pen.lineTo(x + a, y - r);
    pen.lineTo(x + b, y - r);
    pen.closePath();
  };
  const seen = ([x0, y0, x1, y1]) =>
    screenX(x1) > -9 && screenX(x0) < view.width + 9 && screenY(y0) > -9 && screenY(y1) < view.height + 9;

  // Many shapes as one: where a thousand scenes lie over each other, one colour is still seen through.
  const paint = (shapes, { fill, stroke, width }) => {
    const visible = shapes.filter((one) => seen(one.box));
    const paths = { po: 0, li: 0, pt: 0 };
    pen.beginPath();
    for (const one of visible) {
      const [x0, y0, x1, y1] = one.box;
      for (const part of one.parts) {
        if (part.kind !== "po") continue;
        paths.po += 1;
        if (Math.max(x1 - x0, y1 - y0) * view.scale < 3) {
          square(screenX((x0 + x1) / 2), screenY((y0 + y1) / 2), 2);
        } else {
          for (const points of part.rings) trace(points, true);
        }
      }
    }
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.strokeStyle = stroke;
    pen.fillStyle = stroke;
    if (paths.po && fill) {
      pen.globalAlpha = fill;
      pen.fill();
    }
    pen.globalAlpha = 0.9;
    if (paths.po) pen.stroke();
    pen.beginPath();
    for (const one of visible) {
      for (const part of one.parts) if (part.kind === "li") trace(part.rings[0], false);
    }
    pen.lineWidth = width + 0.75;
    pen.stroke();
    pen.beginPath();
    for (const one of visible) {
      for (const part of one.parts) {
        if (part.kind !== "pt") continue;
        const [x, y] = [screenX(part.rings[0][0]), screenY(part.rings[0][1])];
        pen.moveTo(x + 3 + width, y);
        pen.arc(x, y, 3 + width, 0, 2 * Math.PI);
      }
    }
    pen.fill();
    pen.globalAlpha = 1;
  };

  const SIXTIETHS = [30, 10, 5, 2, 1];
  const fine = (least) => [1, 2, 3, 4, 5, 6].flatMap((power) => [5, 2, 1].map((part) => (part * least) / 10 ** power));
  const thirds = [...SIXTIETHS.map((part) => part / 60), ...SIXTIETHS.map((part) => part / 3600), ...fine(1 / 3600)];
  const whole = [90, 45, 30, 15, 10, 5, 2, 1];
  const acrossSteps = sky ? [6, 3, 2, 1, ...thirds].map((hours) => hours * 15) : [...whole, ...fine(1)];
  const upSteps = sky ? [...whole, ...thirds] : [...whole, ...fine(1)];
  const finest = (steps, pixels, least) => steps.findLast((step) => step * pixels >= least) ?? steps[0];

  const grid = () => {
    const lonStep = finest(acrossSteps, view.scale * plane.across, 104);
    const latStep = finest(upSteps, view.scale, 84);
    const left = clamp(planeX(0), -half, half);
    const right = clamp(planeX(view.width), -half, half);
    const [low, high] = [clamp(planeY(view.height), bottom, top), clamp(planeY(0), bottom, top)];
    const lons = [toLon(left), toLon(right)].sort((a, b) => a - b);
    const lines = { lonStep, latStep, lons: [], lats: [] };
    pen.strokeStyle = data.basemap ? colours.muted : colours.grid;
    pen.globalAlpha = data.basemap ? 0.4 : 1;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let n = Math.ceil(lons[0] / lonStep - 1e-9); n * lonStep <= lons[1] + 1e-12; n += 1) {
      const px = screenX(toX(n * lonStep));
      lines.lons.push([n * lonStep, px]);
      pen.moveTo(px, screenY(high));
      pen.lineTo(px, screenY(low));
    }
    for (let n = Math.ceil(toLat(low) / latStep - 1e-9); n * latStep <= toLat(high) + 1e-12; n += 1) {
      const py = screenY(toY(n * latStep));
      lines.lats.push([n * latStep, py]);
      pen.moveTo(screenX(left), py);
      pen.lineTo(screenX(right), py);
    }
    pen.stroke();
    pen.strokeStyle = colours.muted;
    pen.globalAlpha = 0.5;
    pen.strokeRect(screenX(-half), screenY(top), 2 * half * view.scale, (top - bottom) * view.scale);
    pen.globalAlpha = 1;
    return lines;
  };
  const labels = ({ lonStep, latStep, lons, lats }) => {
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = colours.map;
    pen.fillStyle = colours.muted;
    const write = (text, x, y) => {
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    };
    pen.textAlign = "left";
    pen.textBaseline = "bottom";
    for (const [lat, py] of lats) if (py > 24 && py < view.height - 34) write(parallel(lat, latStep), 10, py - 2);
    pen.textAlign = "center";
    for (const [lon, px] of lons) {
      if (px > 40 && px < view.width - 30) write(meridian(lon, lonStep), px, view.height - 7);
    }
  };

  const tiles = new Map();
  const drawTiles = () => {
    const level = clamp(Math.round(Math.log2((view.scale * 360) / 256)), 0, 19);
    const many = 2 ** level;
    const column = (px) => Math.floor(((toLon(planeX(px)) + 180) / 360) * many);
    const row = (py) => clamp(Math.floor(((1 - (planeY(py) + zero) / 180) / 2) * many), 0, many - 1);
    const edge = (x) => Math.round(screenX(toX((x / many) * 360 - 180)));
    const height = (y) => Math.round(screenY((1 - (2 * y) / many) * 180 - zero));
    for (let y = row(0); y <= row(view.height); y += 1) {
      for (let x = column(0); x <= column(view.width); x += 1) {
        const names = { z: level, x: ((x % many) + many) % many, y };
        const url = data.basemap.url.replace(/\{([zxy])\}/g, (_, name) => names[name]);
        let tile = tiles.get(url);
        if (!tile) {
          tile = new Image();
          tile.onload = redraw;
          tile.src = url;
          tiles.set(url, tile);
          if (tiles.size > 512) tiles.delete(tiles.keys().next().value);
        }
        if (tile.complete && tile.naturalWidth) {
          pen.drawImage(tile, edge(x), height(y), edge(x + 1) - edge(x), height(y + 1) - height(y));
        }
      }
    }
  };

  const drawScale = () => {
    const lat = toLat(view.y);
    const pixels = view.scale * plane.across / Math.max(Math.cos(lat * radians), 1e-6); // for a degree of arc
    const arc = sky || !data.radius; // of a body of unknown size only angles are known
    const unit = arc ? 1 : (data.radius * radians);
    const most = (120 / pixels) * unit;
    let text;
    let length;
    if (arc) {
      length = upSteps.find((step) => step <= most) ?? most;
      text = length >= 1 ? `${length}°` : length >= 1 / 60 - 1e-12
        ? `${Math.round(length * 60)}′` : `${Number((length * 3600).toPrecision(2))}″`;
    } else {
      const power = 10 ** Math.floor(Math.log10(most));
      length = [5, 2, 1].map((part) => part * power).find((one) => one <= most);
      text = length >= 1000 ? `${count(length / 1000)} km` : `${Number(length.toPrecision(2))} m`;
    }
    at("scale-text").textContent = text;
    at("scale-bar").style.width = `${((length / unit) * pixels).toFixed(1)}px`;
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = colours.map;
    pen.fillRect(0, 0, view.width, view.height);
    if (data.basemap) drawTiles();
    const lines = grid();
    state.lines = lines;
    for (const stack of stacks) {
      if (stack.on) paint(stack.scenes.filter(alive), { fill: 0.17, stroke: stack.colour, width: 1.1 });
    }
    if (area.parts.length) {
      pen.setLineDash([7, 5]);
      paint([area], { fill: 0, stroke: colours.ink, width: 1.6 });
      pen.setLineDash([]);
    }
    if (state.hovered && state.hovered !== state.selected) {
      paint([state.hovered], { fill: 0.3, stroke: state.hovered.stack.colour, width: 2.2 });
    }
    if (state.selected) {
      paint([state.selected], { fill: 0, stroke: colours.map, width: 6 });
      paint([state.selected], { fill: 0.4, stroke: state.selected.stack.colour, width: 3 });
    }
    labels(lines);
    drawScale();
    state.drawn ??= performance.now();
  };
  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  // ------------------------------------------------------------------------------------------------
  // The panel

  const tint = (element, scene) => element.style.setProperty("--stack", scene.stack.colour);
  const about = () => {
    const some = scenes.length === 1 ? "1 footprint" : `${count(scenes.length)} footprints`;
    const shown = scenes.filter(alive).length;
    const said = [shown === scenes.length ? some : `${count(shown)} of ${some}`];
    if (stacks.length > 1) said.push(`${count(stacks.length)} stacks`);
    if (data.body !== "earth") said.push(data.body === "sky" ? "sky" : data.body[0].toUpperCase() + data.body.slice(1));
    if (data.without) said.push(`${count(data.without)} more without a footprint`);
    at("about").textContent = said.join(" · ");
    canvas.setAttribute("aria-label", `Footprint map: ${said.join(", ")}`);
  };
  const changed = () => {
    if (state.selected && !alive(state.selected)) select(null);
    state.hovered = null;
    at("tip").hidden = true;
    about();
    drawBars();
    redraw();
  };

  const fillLegend = () => {
    at("stacks").hidden = !stacks.length && !area.parts.length;
    for (const stack of stacks) {
      const label = make("label");
      const box = make("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        stack.on = box.checked;
        changed();
      });
      stack.box = box;
      label.style.setProperty("--stack", stack.colour);
      label.append(box, make("span", called(stack), "key"), make("span", count(stack.count), "count"));
      const item = make("li");
      item.append(label);
      at("legend").append(item);
    }
    if (area.parts.length) {
      const label = make("label", undefined, "area");
      label.append(make("i"), make("span", "area of interest", "key"));
      const item = make("li");
      item.append(label);
      at("legend").append(item);
    }
    document.querySelector(".both").hidden = stacks.length < 2;
    for (const [name, on] of [["all", true], ["none", false]]) {
      at(name).addEventListener("click", () => {
        for (const stack of stacks) stack.on = stack.box.checked = on;
        changed();
      });
    }
  };

  const drawBars = () => {
    const bars = at("bars");
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [bars.clientWidth, bars.clientHeight];
    if (!wide) return;
    bars.width = wide * ratio;
    bars.height = high * ratio;
    const brush = bars.getContext("2d");
    brush.scale(ratio, ratio);
    const span = ends[1] - ends[0] + 1;
    const many = Math.min(span, Math.floor(wide / 5));
    const bins = new Array(many).fill(0);
    for (const scene of scenes) {
      if (scene.day !== null && scene.stack.on) bins[Math.floor(((scene.day - ends[0]) / span) * many)] += 1;
    }
    const most = Math.max(1, ...bins);
    bins.forEach((number, n) => {
      const day = ends[0] + ((n + 0.5) / many) * span;
      brush.fillStyle = day >= period[0] && day <= period[1] + 1 ? colours.accent : colours.line;
      const tall = number ? Math.max(2, (number / most) * (high - 2)) : 0;
      brush.fillRect((n / many) * wide, high - tall, Math.max(1, wide / many - 1), tall);
    });
  };
  const fillDates = () => {
    if (!(ends[1] > ends[0])) return;
    at("when").hidden = false;
    const handles = [at("from"), at("to")];
    const tell = () => {
      ["first", "last"].forEach((name, n) => {
        at(name).textContent = date(period[n] * 86400);
        handles[n].setAttribute("aria-valuetext", date(period[n] * 86400));
      });
    };
    handles.forEach((handle, n) => {
      handle.min = ends[0];
      handle.max = ends[1];
      handle.value = ends[n];
      handle.addEventListener("input", () => {
        const other = handles[1 - n].valueAsNumber;
        if (n === 0 ? handle.valueAsNumber > other : handle.valueAsNumber < other) handle.value = other;
        period[n] = handle.valueAsNumber;
        tell();
        changed();
      });
    });
    tell();
  };

  const LONGEST = 400;
  const fillList = (found, head) => {
    state.list = found;
    at("found-head").textContent = head;
    at("list").replaceChildren(
      ...found.slice(0, LONGEST).map((scene) => {
        const item = make("li");
        const button = make("button");
        button.type = "button";
        tint(button, scene);
        button.append(make("i"), make("span", date(scene.start), "date"), make("span", scene.id, "id"));
        button.title = scene.id;
        button.addEventListener("click", () => {
          select(scene);
          reveal(scene);
        });
        item.append(button);
        return item;
      }),
    );
    at("more").textContent = found.length > LONGEST ? `and ${count(found.length - LONGEST)} more` : "";
    mark();
  };
  const mark = () => {
    const list = at("list");
    [...list.children].forEach((item, n) => {
      const current = state.list[n] === state.selected;
      if (current) item.firstChild.setAttribute("aria-current", "true");
      else item.firstChild.removeAttribute("aria-current");
      const above = item.offsetTop - list.offsetTop;
      if (current) list.scrollTop = clamp(list.scrollTop, above + item.offsetHeight - list.clientHeight, above);
    });
  };
  const search = () => {
    const wanted = at("find").value.trim().toLowerCase();
    if (!wanted) return fillList([], "Scenes");
    const found = scenes.filter((scene) => alive(scene) && scene.id.toLowerCase().includes(wanted));
    return fillList(found, found.length === 1 ? "1 scene found" : `${count(found.length)} scenes found`);
  };

  function select(scene) {
    state.selected = scene;
    at("scene").hidden = !scene;
    if (scene) {
      tint(at("name"), scene);
      at("name").textContent = scene.id;
      const facts = [];
      if (scene.start !== null) {
        const end = scene.stop === null ? "" : `–${date(scene.stop) === date(scene.start) ? "" : `${date(scene.stop)} `}${clock(scene.stop)}`;
        facts.push(["Date", date(scene.start)], ["Time", `${clock(scene.start)}${end} UTC`]);
      }
      facts.push(["Stack", called(scene.stack)]);
      data.fields.forEach((name, n) => scene.texts[n] && facts.push([name, scene.texts[n]]));
      if (scene.bytes) facts.push(["Size", size(scene.bytes)]);
      at("facts").replaceChildren(...facts.flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
      at("said").textContent = `Selected ${scene.id}, ${line(scene)}`;
      at("scene").scrollIntoView({ block: "nearest" });
    } else {
      at("said").textContent = "Nothing selected";
    }
    mark();
    redraw();
  }
  const step = (by) => {
    const open = scenes.filter(alive);
    if (!open.length) return;
    const now = open.indexOf(state.selected);
    const next = open[now < 0 ? (by > 0 ? 0 : open.length - 1) : (now + by + open.length) % open.length];
    select(next);
    reveal(next);
  };

  // ------------------------------------------------------------------------------------------------
  // Hands

  const hover = (px, py) => {
    const found = under(px, py);
    const tip = at("tip");
    const first = found[0] ?? null;
    canvas.classList.toggle("over", first !== null);
    const [lonStep, latStep] = [finest(acrossSteps, view.scale * plane.across, 2), finest(upSteps, view.scale, 2)];
    const lat = toLat(planeY(py));
    const x = planeX(px);
    const within = Math.abs(lat) <= plane.pole && Math.abs(x) <= half;
    at("where").textContent = within ? `${meridian(toLon(x), lonStep)}, ${parallel(lat, latStep)}` : "";
    if (first !== state.hovered) {
      state.hovered = first;
      redraw();
    }
    tip.hidden = !first;
    if (!first) return;
    tint(tip, first);
    tip.replaceChildren(make("b", first.id), make("span", line(first)));
    if (found.length > 1) tip.append(make("em", `${count(found.length - 1)} more here: click to go through them`));
    const flipX = px + 16 + tip.offsetWidth > view.width;
    const flipY = py + 18 + tip.offsetHeight > view.height;
    const left = clamp(flipX ? px - tip.offsetWidth - 12 : px + 16, 4, view.width - tip.offsetWidth - 4);
    const above = Math.max(flipY ? py - tip.offsetHeight - 12 : py + 18, 4);
    tip.style.transform = `translate(${left}px, ${above}px)`;
  };
  const leave = () => {
    at("tip").hidden = true;
    at("where").textContent = "";
    if (state.hovered) redraw();
    state.hovered = null;
  };
  const click = (px, py) => {
    const found = under(px, py);
    const now = found.indexOf(state.selected);
    at("find").value = "";
    fillList(found.length > 1 ? found : [], found.length > 1 ? `${count(found.length)} scenes here` : "Scenes");
    select(found.length ? found[(now + 1) % found.length] : null);
  };

  const held = new Map();
  let travelled = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    travelled = held.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = held.get(event.pointerId);
    if (!before) {
      hover(...now);
      return;
    }
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(dx, dy);
    if (travelled < 4) return;
    held.set(event.pointerId, now);
    leave();
    canvas.classList.add("held");
    if (held.size === 1) {
      move(dx, dy);
      return;
    }
    const [a, b] = [...held.values()];
    const other = before === a || now === a ? b : a;
    const [was, is] = [before, now].map((one) => Math.hypot(one[0] - other[0], one[1] - other[1]));
    move(dx / 2, dy / 2);
    if (was > 0 && is > 0) zoom(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    canvas.classList.remove("held");
    if (event.type === "pointerup" && travelled < 4) click(...place(event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * [1, 16, 120][event.deltaMode];
      zoom(Math.exp(-clamp(pixels, -300, 300) * (event.ctrlKey ? 0.01 : 0.0018)), ...place(event));
      leave();
    },
    { passive: false },
  );

  const keys = {
    ArrowLeft: () => move(60, 0),
    ArrowRight: () => move(-60, 0),
    ArrowUp: () => move(0, 60),
    ArrowDown: () => move(0, -60),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: fit,
    n: () => step(1),
    p: () => step(-1),
    Escape: () => select(null),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  at("in").addEventListener("click", () => zoom(1.6));
  at("out").addEventListener("click", () => zoom(1 / 1.6));
  at("fit").addEventListener("click", fit);
  at("close").addEventListener("click", () => select(null));
  at("find").addEventListener("input", search);
  at("find").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !state.list.length) return;
    const next = state.list[(state.list.indexOf(state.selected) + 1) % state.list.length];
    select(next);
    reveal(next);
  });

  const resize = () => {
    const ratio = window.devicePixelRatio || 1;
    view.width = Math.max(canvas.clientWidth, 1);
    view.height = Math.max(canvas.clientHeight, 1);
    canvas.width = Math.round(view.width * ratio);
    canvas.height = Math.round(view.height * ratio);
    if (!view.touched) fit();
    drawBars();
    draw();
  };

  // ------------------------------------------------------------------------------------------------

  at("title").textContent = data.title;
  at("empty").hidden = scenes.length > 0;
  at("found").hidden = scenes.length === 0;
  if (data.basemap && data.basemap.attribution) {
    at("credit").hidden = false;
    at("credit").textContent = data.basemap.attribution;
  }
  readColours();
  fillLegend();
  fillDates();
  about();
  resize();
  new ResizeObserver(resize).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    drawBars();
    redraw();
  });

  // For whoever tests or scripts the page.
  window.skystage = Object.freeze({
    get footprints() { return scenes.length; },
    get shown() { return scenes.filter(alive).length; },
    get selected() { return state.selected?.id ?? null; },
    get hovered() { return state.hovered?.id ?? null; },
    get scale() { return view.scale; },
    get drawn() { return state.drawn; },
    /** Meridians and parallels: what is read at each, and its pixel across or down the map. */
    get graticule() {
      const { lons, lats, lonStep, latStep } = state.lines;
      return {
        lons: lons.map(([lon, px]) => [meridian(lon, lonStep), px]),
        lats: lats.map(([lat, py]) => [parallel(lat, latStep), py]),
      };
    },
    /** Longitude and latitude, degrees, to pixels of the window. */
    project(lon, lat) {
      const box = canvas.getBoundingClientRect();
      const turned = middle[0] + round(lon - middle[0]);
      return [box.left + screenX(toX(turned)), box.top + screenY(toY(lat))];
    },
    /** Pixels of the window to longitude and latitude, degrees. */
    unproject(px, py) {
      const box = canvas.getBoundingClientRect();
      return [round(toLon(planeX(px - box.left))), toLat(planeY(py - box.top))];
    },
    select(id) {
      select(scenes.find((scene) => scene.id === id) ?? null);
    },
  });
})();
