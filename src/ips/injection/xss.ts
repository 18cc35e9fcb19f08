// Tells whether a value, put into a page, would run script there. Own design; linear in the length.
import { beginsTag, findAttribute, readName, type HtmlAttribute } from './html-tokens.ts'

/** Elements that run script, load documents or change how the page is read. */
const ELEMENTS: ReadonlySet<string> = new Set(
  `script iframe frame frameset object embed applet svg math meta link base style xml xss import isindex noscript
   template handler listener layer ilayer bgsound vmlframe portal set animate animatetransform foreignobject`.split(
    /\s+/,
  ),
)

/** Attributes that hold an address; dangerous with a scheme that runs script. */
const ADDRESSES: ReadonlySet<string> = new Set(
  `href src action formaction xlink:href data background poster lowsrc dynsrc from to values by srcdoc codebase folder
   cite longdesc manifest profile usemap archive classid`.split(/\s+/),
)

/** Attributes that carry code or markup whatever their value. */
const CODE: ReadonlySet<string> = new Set(
  `style xmlns datasrc dataformatas filter srcdoc fscommand seeksegmenttime`.split(' '),
)

/** What event attributes are called after their `on`; a value that leaves an attribute is judged by these only. */
const EVENTS =
  /^on(?:abort|activate|after|animation|auxclick|before|begin|blur|bounce|canplay|cellchange|change|click|close|contextmenu|copy|cut|data|dblclick|deactivate|drag|drop|duration|emptied|end|error|filterchange|finish|focus|formdata|fullscreen|gesture|got|hashchange|help|input|invalid|key|layout|load|lose|lost|media|message|mouse|move|offline|online|outofsync|page|paste|pause|play|pointer|popstate|progress|propertychange|ratechange|readystate|repeat|reset|resize|resume|reverse|row|scroll|search|seek|select|show|stalled|start|stop|storage|submit|suspend|syncrestored|time|toggle|touch|track|transition|unhandled|unload|volume|waiting|wheel|zoom)[a-z]*$/

const SCHEME = /^(?:javascript|vbscript|livescript|mocha|jscript|view-source|data)(?::|$)/

const BREAK_OUT = /\bon[a-z]{3,}\s*=|\bstyle\s*=|\bsrcdoc\s*=|(?:href|src|action)\s*=/i

/**
 * Judges a value as text of a page, and as the value of an attribute that it may leave.
 * SecLang's `@detectXSS` can be answered by this; it is no port of libinjection. Ask it of values, not of whole XML or HTML
 * bodies: those have links and styles of their own.
 * @param text one character per byte, or decoded text
 */
export function detectXss(text: string): boolean {
  if (text.includes('<') && runsAsText(text)) return true
  if (!text.includes('=') || !BREAK_OUT.test(text)) return false
  for (const quote of ['"', "'", '`']) {
    const close = text.indexOf(quote)
    if (close >= 0 && findAttribute(text, close + 1, leavesAttribute) < 0) return true
  }
  return leavesUnquoted(text)
}

/** Script that a browser would find in the text between tags. */
function runsAsText(text: string): boolean {
  // Looked for once: a text full of comments without an end must not be searched for the end at each of them.
  const lastCommentEnd = Math.max(text.lastIndexOf('-->'), text.lastIndexOf('--!>'))
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    at++
    const code = text.charCodeAt(at)
    if (code === 33 || code === 63) {
      if (isActiveDeclaration(text, at)) return true
      // Old browsers end a comment at a backtick, and any browser at the end of a page that has no other end.
      if (text.startsWith('!--', at) && at < lastCommentEnd) at = commentEnd(text, at + 3)
    } else if (code === 47) {
      if (beginsTag(text.charCodeAt(at + 1)) && isDangerousElement(readName(text, at + 1).name)) return true
    } else if (beginsTag(code)) {
      const { name, end } = readName(text, at)
      if (isDangerousElement(name)) return true
      const behind = findAttribute(text, end, runs)
      if (behind < 0) return true
      // A quote without its end has taken the rest for its value: look once more without it.
      if (behind >= text.length) return restRuns(text, at)
      at = behind
    }
  }
  return false
}

function commentEnd(text: string, from: number): number {
  const end = /--!?>/g
  end.lastIndex = from
  return end.exec(text) === null ? from : end.lastIndex
}

/** The rest of a text behind a tag without an end: what could begin a tag or carry an event in it. */
function restRuns(text: string, from: number): boolean {
  TAG_LIKE.lastIndex = from
  for (let match = TAG_LIKE.exec(text); match !== null; match = TAG_LIKE.exec(text)) {
    if (isDangerousElement((match[1] ?? '').toLowerCase())) return true
    if (match[2] !== undefined) return true
  }
  return false
}

const TAG_LIKE = /<\/?([a-z][a-z:-]{0,30})|[\s/"'](on[a-z]{4,30})\s{0,16}=/gi

function isDangerousElement(name: string): boolean {
  if (ELEMENTS.has(name)) return true
  const colon = name.lastIndexOf(':')
  return colon >= 0 ? ELEMENTS.has(name.slice(colon + 1)) : /^(?:svg|xsl)/.test(name)
}

/** A declaration, processing instruction or conditional comment that loads something or runs script. */
function isActiveDeclaration(text: string, at: number): boolean {
  const opening = text.slice(at, at + 48).toLowerCase()
  return /^!(?:doctype|entity|attlist|element)|^\?(?:import|xml-stylesheet|xml:namespace)|^!--\s{0,20}(?:\[if\b|import|xml\b)/.test(
    opening,
  )
}

/** An attribute of a tag that the value itself brought. */
function runs({ name, value }: HtmlAttribute): boolean {
  const plain = name.replace(/^["'`]+/, '')
  if (/^on[a-z]{3,}/.test(plain) || CODE.has(plain) || plain.startsWith('xmlns:')) return true
  return ADDRESSES.has(plain) && runsAsAddress(value)
}

/** An attribute behind a quote in a value: an event that browsers know, or an address that runs script. */
function leavesAttribute({ name, value }: HtmlAttribute): boolean {
  const plain = name.replace(/^["'`]+/, '')
  if (EVENTS.test(plain)) return true
  if (plain === 'style') return /expression|behaviou?r|url\s*\(|-moz-binding|@import/i.test(value)
  return ADDRESSES.has(plain) && runsAsAddress(value)
}

/** An event that follows a value without quotes: `x onclick=alert(1)`; only with code behind it, for prose has `on` too. */
function leavesUnquoted(text: string): boolean {
  UNQUOTED.lastIndex = 0
  for (let match = UNQUOTED.exec(text); match !== null; match = UNQUOTED.exec(text)) {
    if (EVENTS.test((match[1] ?? '').toLowerCase())) return true
  }
  return false
}

const UNQUOTED = /(?:^|[\s/])(on[a-z]{3,30})\s{0,16}=\s{0,16}["']?[\w.[\]$]{1,80}(?:[(`=]|&[#\w]{1,10};?)/gi

function withoutBlanks(text: string): string {
  let out = ''
  for (const character of text) if (character > ' ') out += character
  return out
}

/** Whether an address has a scheme that runs script, as browsers read it: without blanks, controls and references. */
function runsAsAddress(value: string): boolean {
  const head = value.slice(0, 400)
  const decoded = head.replaceAll(REFERENCE, (_, hex?: string, decimal?: string, named?: string) => {
    if (named !== undefined) return NAMED[named.toLowerCase()] ?? ''
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return code < 0x110000 ? String.fromCodePoint(code) : ''
  })
  const address = withoutBlanks(decoded).toLowerCase()
  if (!SCHEME.test(address)) return false
  // Pictures and fonts as data run nothing.
  return !/^data:(?:image\/(?!svg)|font\/|audio\/|video\/)/.test(address)
}

const REFERENCE = /&(?:#x0{0,20}([0-9a-f]{1,6});?|#0{0,20}(\d{1,7});?|(colon|tab|newline|lpar|rpar|sol);)/gi
const NAMED: Readonly<Record<string, string>> = {
  colon: ':',
  tab: '',
  newline: '',
  lpar: '(',
  rpar: ')',
  sol: '/',
}
