// The changed lines of a file, as the history and the plan show them.
import { counted } from '../components.ts'
import { html, type Html } from '../html.ts'
import type { ChangedFile } from './sources.ts'
import { textDiff, type DiffLine } from './text-diff.ts'

const SIGNS: Readonly<Record<DiffLine['kind'], string>> = { same: ' ', added: '+', removed: '-', gap: '' }

/** One file: what it is called, and which lines come and go. */
export function fileDiff({ name, before, after }: ChangedFile): Html {
  const lines = textDiff(before ?? '', after ?? '')
  const what = before === null ? 'new' : after === null ? 'removed' : 'changed'
  return html`<h3>${name} <span class="dim">${what}</span></h3>
    <pre class="diff" tabindex="0" aria-label="Changed lines of ${name}">
${lines.map(line => diffLine(line))}</pre>`
}

function diffLine({ kind, text }: DiffLine): Html {
  const words = kind === 'gap' ? `… ${counted(Number(text), 'unchanged line')}` : `${SIGNS[kind]} ${text}`
  return html`<span class="line ${kind}">${words} </span>`
}
