// The tile map: one square per country, with a dot for what was admitted and a cross for what was refused.
import type { CountryTraffic } from '../../../journal/store-traffic.ts'
import { numberText } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link } from '../page.ts'
import { countryName, GRID, TILES } from './world-tiles.ts'

const SIZE = 20
const GAP = 2

/** The map. Countries with traffic are links; the marks grow with the number of digits. */
export function worldMap(traffic: readonly CountryTraffic[], span: string): Html {
  const byCode = new Map(traffic.map(entry => [entry.country, entry]))
  const width = GRID.columns * (SIZE + GAP)
  const height = GRID.rows * (SIZE + GAP)
  const tiles = TILES.map(({ code, column, row }) => {
    const entry = byCode.get(code)
    const place = `translate(${column * (SIZE + GAP)} ${row * (SIZE + GAP)})`
    if (entry === undefined) return html`<g transform="${place}">${blank(code)}</g>`
    const words = wordsOf(entry)
    return html`<a
      href="${link`/world/${code}`}?span=${span}"
      class="tile ${kindOf(entry)}"
      transform="${place}"
      aria-label="${code}, ${words}"
    >
      <title>${words}</title>
      <rect width="${SIZE}" height="${SIZE}" rx="3" />
      <text x="${SIZE / 2}" y="9" text-anchor="middle" aria-hidden="true">${code}</text>
      ${entry.admitted + entry.failed > 0 ? dot(entry.admitted + entry.failed) : null}
      ${entry.refused > 0 ? cross(entry.refused) : null}
    </a>`
  })
  return html`<div class="world scroll">
    <svg viewBox="0 0 ${width} ${height}" aria-label="Tile map of the world">${tiles}</svg>
  </div>`
}

/** `China: 0 admitted, 1,204 refused`. */
function wordsOf({ country, admitted, failed, refused }: CountryTraffic): string {
  return `${countryName(country)}: ${numberText(admitted + failed)} admitted, ${numberText(refused)} refused`
}

function kindOf({ admitted, failed, refused }: CountryTraffic): string {
  if (refused === 0) return 'in'
  return admitted + failed === 0 ? 'out' : 'both'
}

function blank(code: string): Html {
  return html`<g class="tile none" aria-hidden="true"
    ><rect width="${SIZE}" height="${SIZE}" rx="3" /><text x="${SIZE / 2}" y="9" text-anchor="middle"
      >${code}</text
    ></g
  >`
}

/** 1 to 4, one more for every two digits. */
function strength(count: number): number {
  return Math.min(4, 1 + Math.floor(Math.log10(Math.max(1, count)) / 1.5))
}

function dot(count: number): Html {
  return html`<circle class="admitted" cx="6" cy="14.5" r="${1 + strength(count) * 0.7}" />`
}

function cross(count: number): Html {
  const half = 0.9 + strength(count) * 0.65
  return html`<path
    class="refused"
    d="M${14 - half} ${14.5 - half}L${14 + half} ${14.5 + half}M${14 - half} ${14.5 + half}L${14 + half} ${
      14.5 - half
    }"
  />`
}
