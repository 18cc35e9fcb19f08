// Charts as inline SVG: what was admitted stands above the line, what was refused hangs below it, so that colour is not needed.
import { counted, numberText } from '../components.ts'
import { html, type Html } from '../html.ts'

/** One step of a chart. */
export type ChartStep = {
  readonly label: string
  readonly admitted: number
  readonly refused: number
}

/** What stands above and below the line. */
export type ChartWords = { readonly above: string; readonly below: string }

const HEIGHT = 32
const BAR = 4

/** A small chart without axes; its text alternative says the sums and the peak. */
export function sparkline(admitted: readonly number[], refused: readonly number[], span: string): Html {
  const top = Math.max(1, ...admitted, ...refused)
  const words = `${span}: ${counted(sum(admitted), 'admitted', 'admitted')}, ${counted(sum(refused), 'refused', 'refused')}; at most ${numberText(top)} an hour`
  const width = Math.max(1, admitted.length) * BAR
  return html`<svg
    class="spark"
    viewBox="0 0 ${width} ${HEIGHT}"
    width="${width}"
    height="${HEIGHT}"
    role="img"
    aria-label="${words}"
  >
    <path class="admitted" d="${bars(admitted, top, BAR, HEIGHT / 2, -1)}" />
    <path class="refused" d="${bars(refused, top, BAR, HEIGHT / 2, 1)}" />
    <path class="axis" d="M0 ${HEIGHT / 2}H${width}" />
  </svg>`
}

const WIDE = 720
const TALL = 160
const LEFT = 44

/** A chart over a span, with numbers at its axis and a title for each step; a table beside it says the same. */
export function timelineChart(
  steps: readonly ChartStep[],
  caption: string,
  words: ChartWords = { above: 'admitted', below: 'refused' },
): Html {
  const admitted = steps.map(step => step.admitted)
  const refused = steps.map(step => step.refused)
  const top = nice(Math.max(1, ...admitted, ...refused))
  const bar = (WIDE - LEFT) / Math.max(1, steps.length)
  const middle = TALL / 2
  const labels = steps.flatMap((step, index) =>
    index % Math.max(1, Math.ceil(steps.length / 8)) === 0
      ? [html`<text class="tick" x="${fixed(LEFT + index * bar)}" y="${TALL + 14}">${step.label}</text>`]
      : [],
  )
  const zones = steps.map(
    (step, index) =>
      html`<rect class="zone" x="${fixed(LEFT + index * bar)}" y="0" width="${fixed(bar)}" height="${TALL}">
        <title>
          ${step.label}: ${numberText(step.admitted)} ${words.above}, ${numberText(step.refused)}
          ${words.below}
        </title>
      </rect>`,
  )
  return html`<figure class="chart" tabindex="0" aria-label="${caption}">
    <svg viewBox="0 0 ${WIDE} ${TALL + 20}" role="img" aria-label="${caption}">
      <text class="tick" x="${LEFT - 6}" y="10" text-anchor="end">${numberText(top)}</text>
      <text class="tick" x="${LEFT - 6}" y="${TALL}" text-anchor="end">${numberText(top)}</text>
      <g transform="translate(${LEFT} 0)">
        <path class="admitted" d="${bars(admitted, top, bar, middle, -1)}" />
        <path class="refused" d="${bars(refused, top, bar, middle, 1)}" />
      </g>
      <path class="axis" d="M${LEFT} ${middle}H${WIDE}" />
      ${labels} ${zones}
    </svg>
    <figcaption>
      <span class="key"
        ><span class="swatch admitted" aria-hidden="true"></span> ${words.above}, above the line</span
      >
      <span class="key"
        ><span class="swatch refused" aria-hidden="true"></span> ${words.below}, below the line</span
      >
    </figcaption>
  </figure>`
}

/** Bars from the middle line, upwards (-1) or downwards (1). A small number is still seen. */
function bars(values: readonly number[], top: number, width: number, middle: number, way: 1 | -1): string {
  const gap = width > 6 ? 1.5 : 0.5
  return values
    .map((value, index) => {
      if (value <= 0) return ''
      const height = Math.max(1.5, (value / top) * (middle - 1)) * way
      const wide = width - gap
      return `M${fixed(index * width)} ${middle}v${fixed(height)}h${fixed(wide)}v${fixed(-height)}z`
    })
    .join('')
}

/** The next number of the kind 1, 2 or 5 times a power of ten. */
function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  for (const step of [1, 2, 5, 10]) if (value <= step * power) return step * power
  return value
}

function fixed(value: number): string {
  return String(Math.round(value * 100) / 100)
}

function sum(values: readonly number[]): number {
  let total = 0
  for (const value of values) total += value
  return total
}
