/* global LightweightCharts */
// Runs in the browser: draws the strips and the chart, and handles mouse and keyboard.
(async () => {
  const DAY_MS = 86_400_000;
  const STRIP_HEIGHT = 16;
  const STATES = {
    c: { name: 'complete', color: 'complete' },
    a: { name: 'complete, archived', color: 'archived' },
    o: { name: 'outage', color: 'outage' },
    m: { name: 'missing', color: 'missing' },
    x: { name: 'missing', color: 'missing' },
    n: { name: 'nothing expected', color: 'nothing' },
  };
  const $ = (id) => document.getElementById(id);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
  const count = (number) => number.toLocaleString('en-US');
  const dayName = (timeMs) => new Date(timeMs).toISOString().slice(0, 10);

  const { firstMs, days, series } = await unpack($('data').textContent);
  if (series.length === 0) {
    $('chart').hidden = true;
    document.documentElement.dataset.ready = 'true';
    return;
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return JSON.parse(await new Response(stream).text());
  }

  // Coverage: one strip per row. All strips share a tab stop; arrow keys move within and between them.

  const rows = [...document.querySelectorAll('.map tbody tr')];
  const strips = rows.map((row, index) => makeStrip(row, index));
  const at = { row: 0, day: days - 1 };

  function makeStrip(row, index) {
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'slider');
    canvas.setAttribute('aria-label', `Days of ${series[index].name}`);
    canvas.setAttribute('aria-valuemin', '1');
    canvas.setAttribute('aria-valuemax', String(days));
    canvas.tabIndex = -1;
    row.querySelector('.strip').append(canvas);
    return canvas;
  }

  function runsOf(index) {
    let day = 0;
    return series[index].runs.split(' ').map((run) => {
      const from = day;
      day += Number(run.slice(1));
      return { state: run[0], from, to: day };
    });
  }

  // Read once: reading the width for each of 500 strips would lay out the page 500 times.
  let stripWidth = 0;
  let colors = {};

  function drawStrip(index) {
    const canvas = strips[index];
    const width = stripWidth;
    const height = Math.round(STRIP_HEIGHT * devicePixelRatio);
    if (width === 0) return;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext('2d');
    const runs = runsOf(index);
    const isBad = ({ state }) => 'omx'.includes(state);
    const paint = (run) => {
      const { state, from, to } = run;
      const [left, right] = [(from / days) * width, (to / days) * width];
      context.fillStyle = colors[state];
      // One bad day of a year must not fall between two pixels.
      const least = isBad(run) ? 2 * devicePixelRatio : 0;
      context.fillRect(left, 0, Math.max(right - left, least), height);
    };
    for (const run of runs) paint(run);
    for (const run of runs.filter(isBad)) paint(run);
    if (index === at.row && document.activeElement === canvas) {
      context.strokeStyle = color('ink');
      context.lineWidth = 2 * devicePixelRatio;
      const left = (at.day / days) * width;
      context.strokeRect(left - 2, 1, Math.max(width / days, 2) + 4, height - 2);
    }
  }

  function drawAll() {
    stripWidth = Math.round(strips[at.row].clientWidth * devicePixelRatio);
    colors = Object.fromEntries(
      Object.entries(STATES).map(([state, each]) => [state, color(each.color)]),
    );
    for (let index = 0; index < strips.length; index++) if (!rows[index].hidden) drawStrip(index);
    drawMonths();
  }

  function drawMonths() {
    const place = document.querySelector('.months');
    const width = place.parentElement.clientWidth;
    place.replaceChildren();
    let free = 0;
    for (let day = 0; day < days; day++) {
      const date = new Date(firstMs + day * DAY_MS);
      if (date.getUTCDate() !== 1) continue;
      const left = (day / days) * width;
      if (left < free || left > width - 56) continue;
      const label = document.createElement('span');
      label.textContent = date.toISOString().slice(0, 7);
      label.style.left = `${left}px`;
      place.append(label);
      free = left + 68;
    }
  }

  function describeDay(index, day) {
    const { name, interval, incomplete, sampled } = series[index];
    const { state } = runsOf(index).find((run) => day < run.to);
    const [found, wanted, gap] = incomplete[day] ?? [];
    const unit = sampled ? 'moments checked' : 'candles';
    const numbers = wanted ? `: ${count(found)} of ${count(wanted)} ${unit}` : '';
    const known = gap ? `, ${count(gap)} not at the exchange` : '';
    return {
      name: `${name} ${interval}`,
      text: `${dayName(firstMs + day * DAY_MS)}, ${STATES[state].name}${numbers}${known}`,
    };
  }

  function showDay(index, day) {
    const { name, text } = describeDay(index, day);
    $('readout').textContent = `${name}, ${text}`;
  }

  function moveTo(row, day) {
    const before = at.row;
    strips[before].tabIndex = -1;
    at.row = row;
    at.day = Math.min(days - 1, Math.max(0, day));
    const canvas = strips[row];
    canvas.tabIndex = 0;
    canvas.setAttribute('aria-valuenow', String(at.day + 1));
    canvas.setAttribute('aria-valuetext', describeDay(row, at.day).text);
    if (document.activeElement !== canvas) canvas.focus({ preventScroll: false });
    rows[row].scrollIntoView({ block: 'nearest' });
    showDay(row, at.day);
    drawStrip(before);
    drawStrip(row);
  }

  function neighbour(row, step) {
    for (let next = row + step; next >= 0 && next < rows.length; next += step) {
      if (!rows[next].hidden) return next;
    }
    return row;
  }

  const KEYS = {
    ArrowLeft: () => moveTo(at.row, at.day - 1),
    ArrowRight: () => moveTo(at.row, at.day + 1),
    ArrowUp: () => moveTo(neighbour(at.row, -1), at.day),
    ArrowDown: () => moveTo(neighbour(at.row, 1), at.day),
    PageUp: () => moveTo(at.row, at.day - 30),
    PageDown: () => moveTo(at.row, at.day + 30),
    Home: () => moveTo(at.row, 0),
    End: () => moveTo(at.row, days - 1),
    Enter: () => choose(at.row),
    ' ': () => choose(at.row),
  };

  for (const [index, canvas] of strips.entries()) {
    const dayAt = (event) => {
      const { left, width } = canvas.getBoundingClientRect();
      return Math.min(days - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * days)));
    };
    canvas.addEventListener('pointermove', (event) => showDay(index, dayAt(event)));
    canvas.addEventListener('click', (event) => moveTo(index, dayAt(event)));
    canvas.addEventListener('focus', () => moveTo(index, at.day));
    canvas.addEventListener('blur', () => drawStrip(index));
    canvas.addEventListener('keydown', (event) => {
      const act = KEYS[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    rows[index].querySelector('button').addEventListener('click', () => choose(index));
  }
  strips[0].tabIndex = 0;

  function filter() {
    const wanted = $('filter').value.trim().toUpperCase();
    const onlyMissing = $('only-missing').checked;
    let shown = 0;
    for (const [index, row] of rows.entries()) {
      const { name, runs } = series[index];
      const isMissing = /[mx]/.test(runs);
      row.hidden = !name.includes(wanted) || (onlyMissing && !isMissing);
      if (!row.hidden) shown += 1;
    }
    $('filter-count').textContent =
      shown === rows.length ? '' : `${count(shown)} of ${count(rows.length)} shown`;
    strips[at.row].tabIndex = -1;
    const first = rows.findIndex((row) => !row.hidden);
    if (rows[at.row].hidden && first >= 0) at.row = first;
    strips[at.row].tabIndex = 0;
    drawAll();
  }
  $('filter').addEventListener('input', filter);
  $('only-missing').addEventListener('change', filter);

  // The chart: daily candles, archived ones in grey, and a line where the archive ends.

  let chart;

  function choose(index) {
    $('chart-symbol').value = String(index);
    for (const [other, row] of rows.entries()) row.classList.toggle('chosen', other === index);
    drawChart(index);
  }

  function decode({ scale, values }) {
    const candles = [];
    let [day, close] = [0, 0];
    for (let at = 0; at < values.length; at += 5) {
      day += values[at];
      const open = close + values[at + 1];
      const [high, low] = [open + values[at + 2], open - values[at + 3]];
      close = open + values[at + 4];
      const price = (units) => units / 10 ** scale;
      candles.push({
        day,
        open: price(open),
        high: price(high),
        low: price(low),
        close: price(close),
      });
    }
    return candles;
  }

  function drawChart(index) {
    chart?.remove();
    chart = undefined;
    const { name, interval, boundaryMs, chart: data } = series[index];
    $('chart').hidden = !data;
    if (!data) {
      $('chart-text').textContent =
        `No chart of ${name}: this report has too many candles to read them all. Make a report of this symbol alone: just report --symbol ${name}`;
      return;
    }
    const candles = decode(data);
    const archivedUntil = boundaryMs === null ? -1 : (boundaryMs - firstMs) / DAY_MS;
    const byDay = new Map(candles.map((candle) => [candle.day, candle]));
    const points = [];
    for (let day = candles[0].day; day <= candles.at(-1).day; day++) {
      const candle = byDay.get(day);
      const time = dayName(firstMs + day * DAY_MS);
      if (!candle) points.push({ time });
      else {
        const name =
          day < archivedUntil ? 'archived-candle' : candle.close >= candle.open ? 'up' : 'down';
        points.push({
          time,
          ...candle,
          color: color(name),
          wickColor: color(name),
          borderColor: color(name),
        });
      }
    }

    chart = LightweightCharts.createChart($('chart'), {
      autoSize: true,
      layout: {
        background: { color: 'transparent' },
        textColor: color('soft'),
        fontFamily: getComputedStyle(document.body).fontFamily,
        attributionLogo: true,
      },
      grid: { vertLines: { color: color('line') }, horzLines: { color: color('line') } },
      rightPriceScale: { borderColor: color('line') },
      timeScale: { borderColor: color('line') },
      crosshair: { mode: 0 },
      localization: { locale: 'en-GB', dateFormat: 'yyyy-MM-dd' },
    });
    const priceFormat = { type: 'price', precision: data.scale, minMove: 10 ** -data.scale };
    const line = chart.addSeries(LightweightCharts.CandlestickSeries, {
      priceFormat,
      lastValueVisible: false,
      priceLineVisible: false,
    });
    line.setData(points);
    const isWithin = archivedUntil > candles[0].day && archivedUntil <= candles.at(-1).day;
    if (isWithin)
      line.attachPrimitive(
        boundaryLine(chart, dayName(firstMs + Math.floor(archivedUntil) * DAY_MS)),
      );
    // Some room at both ends, or the first label is cut.
    const margin = Math.ceil(points.length / 60);
    chart.timeScale().setVisibleLogicalRange({ from: -margin, to: points.length - 1 + margin });

    const lows = Math.min(...candles.map((candle) => candle.low));
    const highs = Math.max(...candles.map((candle) => candle.high));
    const boundary =
      boundaryMs === null
        ? 'No candle is archived.'
        : `Archived before ${dayName(boundaryMs)}${isWithin ? ', left of the dashed line' : ''}.`;
    $('chart-text').textContent =
      `${name}, ${count(candles.length)} days from ${interval} candles, ${points[0].time} to ${points.at(-1).time}: ` +
      `low ${lows}, high ${highs}, last ${candles.at(-1).close}. ${boundary}`;
  }

  function boundaryLine(owner, time) {
    const renderer = {
      draw: (target) =>
        target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: ratio }) => {
          const x = owner.timeScale().timeToCoordinate(time);
          if (x === null) return;
          const left = Math.round(x * ratio);
          context.save();
          context.strokeStyle = color('ink');
          context.lineWidth = Math.max(1, Math.floor(ratio));
          context.setLineDash([6 * ratio, 4 * ratio]);
          context.beginPath();
          context.moveTo(left, 0);
          context.lineTo(left, bitmapSize.height);
          context.stroke();
          context.font = `${12 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
          context.fillStyle = color('ink');
          const label = 'archive';
          const isRoom = left > context.measureText(label).width + 12 * ratio;
          context.textAlign = isRoom ? 'right' : 'left';
          context.fillText(label, left + (isRoom ? -6 : 6) * ratio, 16 * ratio);
          context.restore();
        }),
    };
    return { paneViews: () => [{ renderer: () => renderer, zOrder: () => 'top' }] };
  }

  $('chart-symbol').addEventListener('change', (event) => choose(Number(event.target.value)));
  new ResizeObserver(drawAll).observe(document.querySelector('.months').parentElement);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    drawAll();
    drawChart(Number($('chart-symbol').value));
  });
  choose(
    Math.max(
      0,
      series.findIndex((each) => each.chart),
    ),
  );
  document.documentElement.dataset.ready = 'true';
})();
