// Where each country stands on the tile map: a grid of equal squares, roughly as they lie on the globe, so that small ones are seen, too.

/** One country of the map, by its ISO 3166-1 alpha-2 code (and XK, which databases use for Kosovo). */
export type Tile = { readonly code: string; readonly column: number; readonly row: number }

// Own layout: each country takes the cell nearest to its place on a map with the crowded parts of the world stretched.
const ROWS = [
  '.. .. .. .. .. .. .. .. GL .. IS .. .. .. .. .. .. .. SJ .. .. FI .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. FO .. .. .. NO .. SE AX .. LV EE .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  'CA .. .. .. .. .. .. .. .. .. .. IE IM GB .. NL DK .. CZ PL .. LT BY .. .. .. .. .. RU .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. GG JE BE LU LI DE AT SK HU .. .. UA .. .. .. .. .. .. KZ .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  'US .. .. .. .. .. .. PM .. .. .. .. .. .. FR .. CH SM SI BA RS RO MD .. .. .. .. .. .. .. .. .. .. .. .. MN .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. .. .. AD .. MC IT HR ME XK BG .. .. .. GE AZ .. .. UZ .. KG .. .. .. .. .. .. KP .. .. .. .. .. .. .. .. .. ..',
  'MX .. .. .. .. .. .. .. .. .. .. PT GI ES .. .. .. VA .. AL MK GR .. CY TR .. AM .. .. TM TJ .. .. .. .. .. .. .. KR .. JP .. .. .. .. .. .. .. ..',
  '.. .. .. .. .. .. BM .. .. .. .. .. MA .. .. .. TN .. MT .. .. .. .. PS LB SY IQ .. IR .. AF .. .. .. .. CN .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. BS TC VG AI MF .. .. .. EH .. .. DZ .. .. .. .. LY .. .. EG IL JO .. KW BH .. .. PK .. NP BT .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. CU HT PR SX BL AG .. .. MR .. .. .. .. .. .. .. .. .. .. .. .. .. .. SA QA AE OM .. .. IN BD MM .. MO HK TW .. .. .. .. .. .. .. .. .. ..',
  'GT BZ KY JM DO VI KN GP DM CV GM SN .. ML .. .. NE .. .. TD .. .. SD .. ER .. YE .. .. .. .. .. .. .. .. LA VN .. .. .. .. MP .. .. .. .. .. .. ..',
  'SV HN NI .. AW MS VC MQ LC .. GW GN .. BF BJ .. NG .. .. .. .. .. .. .. .. DJ .. .. .. .. .. .. .. .. .. TH KH .. PH .. GU .. .. .. .. .. .. .. ..',
  '.. .. CR PA CW BQ GD TT BB .. SL LR CI GH TG .. .. CM .. .. CF .. .. SS ET .. SO .. .. .. .. .. LK .. .. MY .. BN .. PW .. FM .. MH .. .. .. .. ..',
  '.. .. .. EC CO VE GY SR GF .. .. .. .. .. .. ST GQ GA CG .. .. .. .. UG KE .. .. .. .. .. .. MV .. .. .. SG .. .. .. .. .. .. NR .. .. .. .. .. ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. CD BI RW TZ .. .. .. SC .. .. IO .. .. .. .. .. ID .. .. PG .. .. .. .. KI .. .. ..',
  '.. .. .. .. PE .. .. .. BR .. .. .. .. .. .. .. .. .. .. AO .. .. ZM MW .. KM YT .. .. .. .. .. .. .. CC .. CX .. TL .. .. .. SB .. TV WS TK .. ..',
  '.. .. .. .. .. .. BO .. .. .. .. .. SH .. .. .. .. .. .. .. .. .. ZW .. MZ .. MG .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. VU .. FJ WF AS .. PF',
  '.. .. .. .. .. .. .. PY .. .. .. .. .. .. .. .. .. .. .. NA .. BW .. .. .. .. .. .. RE MU .. .. .. .. .. .. .. .. .. AU .. .. NC .. .. TO NU CK ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ZA LS SZ .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. NF .. .. .. .. .. ..',
  '.. .. .. .. .. CL AR UY .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
  '.. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. NZ .. .. .. .. ..',
  '.. .. .. .. .. .. .. FK .. GS .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. ..',
]

/** All tiles, from the top left. */
export const TILES: readonly Tile[] = ROWS.flatMap((line, row) =>
  line.split(' ').flatMap((code, column) => (code === '..' ? [] : [{ code, column, row }])),
)

/** Size of the grid. */
export const GRID = { columns: ROWS[0]?.split(' ').length ?? 0, rows: ROWS.length } as const

const NAMES = new Intl.DisplayNames('en', { type: 'region' })

const WORDS: Readonly<Record<string, string>> = {
  private: 'Private addresses',
  cgnat: 'Carrier-grade NAT addresses',
  loopback: 'This machine',
  'link-local': 'Link-local addresses',
  reserved: 'Reserved addresses',
  unknown: 'No country known',
  unavailable: 'No database loaded',
}

/** Name of a country, or what stands for one. What is neither comes back as it is. */
export function countryName(code: string): string {
  if (Object.hasOwn(WORDS, code)) return WORDS[code] ?? code
  if (!/^[A-Z]{2}$/.test(code)) return code
  return NAMES.of(code) ?? code
}
