// PURE. Reduces paths and user agents to a bounded number of shapes that a later policy can still be asked about.

const MAX_PATH = 96
const MAX_SEGMENTS = 8

/**
 * The shape of a path: numbers become `0`, ids and long random names become `~`, case and the words that profiles
 * and rules look at stay. The result is a path again, so a candidate policy can classify it.
 */
export function pathShape(path: string): string {
  const segments = path.slice(0, 256).split('/', MAX_SEGMENTS + 1)
  const shaped = segments.map(segmentShape).join('/')
  const escaped = shaped.replace(/[^!-~]/g, '~')
  return escaped.length <= MAX_PATH ? escaped : `${escaped.slice(0, MAX_PATH - 1)}~`
}

function segmentShape(segment: string): string {
  if (segment.length < 2) return /^[0-9]$/.test(segment) ? '0' : segment
  const dot = segment.lastIndexOf('.')
  const stem = dot > 0 && segment.length - dot <= 6 ? segment.slice(0, dot) : segment
  const extension = segment.slice(stem.length)
  if (isRandom(stem)) return `~${extension}`
  // Short numbers stay: routes are told apart by names like `v1`.
  return (/^[0-9]+$/.test(stem) ? '0' : stem.replace(/[0-9]{3,}/g, '0')) + extension
}

function isRandom(stem: string): boolean {
  if (/^\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$/i.test(stem)) return true
  if (stem.length >= 12 && /^[0-9a-f]+$/i.test(stem) && /[0-9]/.test(stem)) return true
  return stem.length >= 20 && /[0-9]/.test(stem) && /[a-z]/i.test(stem)
}

/** Words by which user agents are told apart, most specific first. */
const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/labtech|automate/i, 'automate'],
  [/screenconnect|connectwisecontrol/i, 'screenconnect'],
  [/meshagent|meshcentral/i, 'meshcentral'],
  [/kaseya|vsa/i, 'kaseya'],
  [/tactical|rmmagent/i, 'tactical'],
  [/netsupport/i, 'netsupport'],
  [/n-?able|n-?central/i, 'n-central'],
  [/ms-asmx|MS Web Services Client/i, 'dotnet-soap'],
  [/\.NET|dotnet/i, 'dotnet'],
  [/powershell/i, 'powershell'],
  [/curl\//i, 'curl'],
  [/wget/i, 'wget'],
  [/python|aiohttp/i, 'python'],
  [/go-http-client/i, 'go'],
  [/okhttp|java/i, 'java'],
  [/bot|spider|crawl|scan|nuclei|zgrab|masscan/i, 'scanner'],
  [/edg\//i, 'edge'],
  [/chrome|chromium/i, 'chrome'],
  [/firefox/i, 'firefox'],
  [/safari/i, 'safari'],
  [/trident|msie/i, 'internet-explorer'],
]

/** The family of a user agent: one of a fixed list, `other`, or `none` when no header was sent. */
export function userAgentFamily(userAgent: string | null): string {
  if (userAgent === null || userAgent === '') return 'none'
  const text = userAgent.slice(0, 200)
  for (const [pattern, family] of FAMILIES) if (pattern.test(text)) return family
  return 'other'
}

/** What stands in place of a path for raw TCP: the port that the client came to. */
export function portShape(port: number): string {
  return `:${port}`
}

/** The port of a shape made by `portShape`; null: many ports, taken together. */
export function portOfShape(path: string | null): number | null {
  const text = /^:(\d{1,5})$/.exec(path ?? '')?.[1]
  return text === undefined ? null : Number(text)
}
