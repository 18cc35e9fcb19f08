// PURE. Takes secrets and anything that could forge or garble a log line out of what is recorded.

/** What stands in place of a secret. */
export const REDACTED = '[redacted]'

/** Longest string that is recorded; longer ones are cut with an ellipsis. */
const MAX_TEXT = 1024

// One list for names in queries, headers, JSON, XML, forms and installer command lines (SERVERPASS=). `auth` covers
// authorization, authtoken and xauth; `bypass` and `compass` are words, not names of secrets.
const SECRET_WORDS =
  'pass(?:word|wd|phrase|code|key)|(?<!by|com|sur|tres)pass(?![a-z])|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|gateway[-_]?keys?|' +
  'client[-_]?key|auth(?!or(?!iz))|credential|cookie|session[-_]?(?:id|key)|jwt|signature|otp|viewstate'
const SECRET_NAME = new RegExp(SECRET_WORDS, 'i')
/** Names that are a secret only when they stand alone. */
const SECRET_EXACT = /^(?:pass|key|sid|sig|pin|session)$/i

// The look-behind allows one start per run of name characters, which keeps the search linear.
const NAMED_VALUE = new RegExp(
  `(?<![\\w.$-])([\\w.$-]*?(?:${SECRET_WORDS})[\\w.$-]*)` +
    `((?:["'[\\]\\\\\\d]|%22|%27|%5b|%5d|&quot;)*\\s*(?:=|:|%3d|%3a)\\s*\\\\*)` +
    `("[^"]*"?|'[^']*'?|(?:(?:bearer|basic|digest|negotiate|ntlm)\\s+)?(?:(?!%26|%3b|&quot;)[^\\s"'&;,<>])+)`,
  'gi',
)
const XML_VALUE = new RegExp(`(<[\\w:.-]*?(?:${SECRET_WORDS})[\\w:.-]*[^<>]*>)[^<]+`, 'gi')
const BEARER = /\b(bearer)(\s+|%20)[^\s"'&;,<>]+/gi
// No `i` here: "Basic authentication failed" is a sentence, `Basic dXNlcjpwYXNz` is a credential.
const SCHEME =
  /\b([Bb]asic|BASIC|[Dd]igest|DIGEST|[Nn]egotiate|NEGOTIATE|NTLM|ntlm)(\s+|%20)(?=[^\s"']*[A-Z0-9=+/])[A-Za-z0-9._~+/=-]{8,}/g
const JWT = /eyJ[\w-]{5,}\.[\w-]*(?:\.[\w-]*)?/g
const USER_INFO = /(:\/\/)[^\s/@:]+:[^\s/@]+@/g
const LONG_SECRET = /(?<![\w+/=-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{40,}/g
// Keys of well-known services say by their beginning what they are (AWS, GitHub, GitLab, Slack, Google, Stripe). Rules see
// values in lower case.
const ISSUED =
  /(?<![a-z\d])(?:(?:akia|asia)[a-z\d]{16}|gh[pousr]_[a-z\d]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|aiza[\w-]{35}|[sr]k_(?:live|test)_[a-z\d]{16,})/gi
const PRIVATE_KEY = /(-----begin[ \w]{0,30}private key-----)[^]*?(?=-----end|$)/gi
// Passwords that stand in a command line without a name: `net user bob ...`, `mysql -p...`, `sshpass -p ...`, `curl -u bob:...`.
const COMMAND =
  /(\bnet1?(?:\.exe)?\s+user\s+[^\s/]{1,64}\s+(?!\/)|\b(?:mysql(?:dump|admin)?|mariadb|psexec(?:64)?(?:\.exe)?)\b[^|&;\n]{0,80}?\s-p\s?|\bsshpass\s+-p\s*|\bcurl(?:\.exe)?\b[^|&;\n]{0,80}?\s-u\s*[^\s:]{1,64}:|\s\/p:)(?!\[redacted\])[^\s"';|&]+/gi
// Control, format (bidi, zero width, tags), line and paragraph separators, lone surrogates.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const PLAIN = /^[ -~]*$/

// Most texts hold nothing of all that: one search spares them the seven replacements.
const SUSPICIOUS = new RegExp(
  `${SECRET_WORDS}|bearer|basic|digest|negotiate|ntlm|eyj|://|[\\w+/=-]{40}|akia|asia|gh[pousr]_|_pat_|glpat|xox[abeoprs]-|aiza|[sr]k_(?:live|test)_|private key|\\bnet1?(?:\\.exe)?\\s+user\\b|\\s-[pu]|/p:`,
  'i',
)

/** Whether a name of a parameter, header or field announces a secret. */
export function isSecretName(name: string): boolean {
  return SECRET_EXACT.test(name) || SECRET_NAME.test(name)
}

/** Makes text safe for one line of a log or a terminal: controls, ANSI, bidi and invisible characters become `\u{..}`. */
export function escapeControls(text: string): string {
  if (PLAIN.test(text)) return text
  return text.replace(UNSAFE, character => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** Free text (a matched value, a problem of a peer): named secrets, bearer values, JWTs, user-info and long tokens go. */
export function redactText(text: string): string {
  const bounded = cut(text)
  if (!SUSPICIOUS.test(bounded)) return escapeControls(bounded)
  return escapeControls(
    bounded
      .replace(PRIVATE_KEY, `$1${REDACTED}`)
      .replace(JWT, REDACTED)
      .replace(ISSUED, REDACTED)
      .replace(COMMAND, `$1${REDACTED}`)
      .replace(NAMED_VALUE, `$1$2${REDACTED}`)
      .replace(XML_VALUE, `$1${REDACTED}`)
      .replace(BEARER, `$1 ${REDACTED}`)
      .replace(SCHEME, `$1 ${REDACTED}`)
      .replace(USER_INFO, `$1${REDACTED}@`)
      .replace(LONG_SECRET, REDACTED),
  )
}

/** A raw query without `?`: values of secret names, and values that look like secrets, go. Order and names stay. */
export function redactQuery(query: string): string {
  const parts = cut(query).split(/([&;])/)
  return escapeControls(parts.map((part, index) => (index % 2 === 1 ? part : redactPair(part))).join(''))
}

/** A path, with or without query and path parameters; the segment after a segment like `token` goes too. */
export function redactPath(path: string): string {
  const text = cut(path)
  const mark = text.indexOf('?')
  const bare = mark < 0 ? text : text.slice(0, mark)
  let afterSecretName = false
  const segments = bare.split('/').map(segment => {
    const hide = afterSecretName && segment.length >= 6
    afterSecretName = /^(?:[\w-]*token|password|secret|api[-_]?key|authorization)$/i.test(segment)
    if (hide) return REDACTED
    if (!/[=;%.]|[\w-]{40}/.test(segment)) return segment
    return segment
      .split(';')
      .map(part => redactPair(part, true))
      .join(';')
  })
  const safe = escapeControls(segments.join('/'))
  return mark < 0 ? safe : `${safe}?${redactQuery(text.slice(mark + 1))}`
}

/** Fields whose text the gate itself made: only control characters can be wrong with them. */
const OWN_TEXT = new Set(
  'id,keptId,ja4,offered,tls,negotiated,cipher,reason,stage,line,reference,listener,site,country,address,ending,code,file,version,class,classes,method,range,name,keyType,expiresMs,remedy,file,kept'.split(
    ',',
  ),
)

/** Lists of problems of the policy: each begins with a place in a file, whose path may be as long as a token. */
const LOCATED = new Set(['problems', 'warnings'])
const PLACE = /^.{1,400}?\.ya?ml:\d+(?::\d+)?: /

function redactLocated(text: string): string {
  const place = PLACE.exec(text)?.[0] ?? ''
  return escapeControls(place) + redactText(text.slice(place.length))
}

/** Any event's fields, made safe to record. Depth, list length and text length are bounded. */
export function redactFields(fields: object): Record<string, unknown> {
  return redactRecord(fields, 0)
}

function redactRecord(record: object, depth: number): Record<string, unknown> {
  const safe: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) safe[key] = redactValue(key, value, depth)
  return safe
}

function redactValue(key: string, value: unknown, depth: number): unknown {
  if (typeof value === 'string') {
    if (OWN_TEXT.has(key)) return escapeControls(cut(value))
    if (key === 'path') return redactPath(value)
    if (LOCATED.has(key)) return redactLocated(value)
    if (key === 'query') return redactQuery(value)
    return isSecretName(key) ? REDACTED : redactText(value)
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'boolean' || value === null) return value
  if (value === undefined || depth >= 4) return null
  if (Array.isArray(value)) return value.slice(0, 64).map(entry => redactValue(key, entry, depth + 1))
  if (typeof value === 'object') return redactRecord(value, depth + 1)
  return null
}

function redactPair(pair: string, isSegment = false): string {
  const equals = pair.indexOf('=')
  if (equals >= 0) {
    const name = pair.slice(0, equals)
    const value = pair.slice(equals + 1)
    if (value !== '' && isSecretName(decode(name).trim())) return `${name}=${REDACTED}`
    const decoded = decode(value)
    return redactText(decoded) === escapeControls(decoded) ? pair : `${name}=${REDACTED}`
  }
  const decoded = decode(pair)
  if (redactText(decoded) === escapeControls(decoded)) return pair
  return isSegment || pair.length > 0 ? REDACTED : pair
}

/** Decodes percent escapes as far as they go, at most three times over; what cannot be decoded stays. */
function decode(text: string): string {
  let current = text.replaceAll('+', ' ')
  for (let round = 0; round < 3 && current.includes('%'); round++) {
    const next = current.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
    if (next === current) break
    current = next
  }
  return current
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`
}
