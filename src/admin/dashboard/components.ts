// Pieces that pages are put together from, so that a time, a state or a table looks and reads the same everywhere.
import { html, type Content, type Html } from './html.ts'

/** How a state looks. The word beside the mark says the same: colour is never alone. */
export type Tone = 'good' | 'warn' | 'bad' | 'idle'

const MARKS: Readonly<Record<Tone, string>> = { good: '●', warn: '▲', bad: '■', idle: '○' }

/** A state: mark, colour and word. */
export function state(tone: Tone, word: string): Html {
  return html`<span class="state ${tone}"
    ><span class="mark" aria-hidden="true">${MARKS[tone]}</span> ${word}</span
  >`
}

/** `3 min ago`, with the exact time in the title; the browser keeps it current. Null: `never`. */
export function ago(timeMs: number | null, nowMs: number): Html {
  if (timeMs === null || !isTime(timeMs)) return html`<span class="dim">never</span>`
  const iso = new Date(timeMs).toISOString()
  return html`<time datetime="${iso}" title="${exactTime(timeMs)}" data-ago>${agoText(timeMs, nowMs)}</time>`
}

/** The exact time: `2026-11-21 09:30:12 UTC`. */
export function exact(timeMs: number): Html {
  if (!isTime(timeMs)) return html`<span class="dim">unknown</span>`
  return html`<time datetime="${new Date(timeMs).toISOString()}">${exactTime(timeMs)}</time>`
}

function isTime(timeMs: number): boolean {
  return Number.isFinite(timeMs) && Math.abs(timeMs) <= 8.64e15
}

function exactTime(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `just now`, `40 s ago`, `5 min ago`, `3 h ago`, `2 d ago`, or `in 5 min`. The browser module says the same. */
export function agoText(timeMs: number, nowMs: number): string {
  const distance = Math.abs(nowMs - timeMs)
  if (distance < 5_000) return 'just now'
  const text = durationText(distance)
  return timeMs > nowMs ? `in ${text}` : `${text} ago`
}

/** `40 s`, `5 min`, `3 h`, `2 d`: the largest unit, rounded down. */
export function durationText(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.max(0, Math.round(durationMs))} ms`
  if (durationMs < 60_000) return `${Math.floor(durationMs / 1_000)} s`
  if (durationMs < 3_600_000) return `${Math.floor(durationMs / 60_000)} min`
  if (durationMs < 172_800_000) return `${Math.floor(durationMs / 3_600_000)} h`
  return `${Math.floor(durationMs / 86_400_000)} d`
}

/** `1.5 GB`, decimal units. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit] ?? ''}`
}

/** `12,345`. */
export function numberText(value: number): string {
  return value.toLocaleString('en-US')
}

/** `1 site`, `3 sites`, `1,200 sites`. */
export function counted(count: number, noun: string, many = `${noun}s`): string {
  return `${numberText(count)} ${count === 1 ? noun : many}`
}

/** What a page shows when there is nothing: what that means, and what to do next. */
export function emptyState(what: string, next?: Content): Html {
  return html`<div class="empty">
    <p>${what}</p>
    ${next === undefined ? '' : html`<p class="dim">${next}</p>`}
  </div>`
}

/** A column of a table. */
export type Column = {
  readonly head: string
  /** Numbers stand under each other, at the right. */
  readonly numeric?: boolean
  /** Text of any length: may break anywhere. */
  readonly long?: boolean
  /** Words that stay on one line: times, states. */
  readonly short?: boolean
}

/** A table that becomes a list of cards on a phone. `caption` is read to those who cannot see it. */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly Content[])[],
  options: { readonly id?: string } = {},
): Html {
  const heads = columns.map(column => html`<th scope="col" class="${classOf(column)}">${column.head}</th>`)
  const body = rows.map(row => tableRow(columns, row))
  const id = options.id === undefined ? '' : html`id="${options.id}"`
  return html`<div class="scroll" tabindex="0" role="group" aria-label="${caption}">
    <table>
      <caption class="unseen">
        ${caption}
      </caption>
      <thead>
        <tr>
          ${heads}
        </tr>
      </thead>
      <tbody ${id}>
        ${body}
      </tbody>
    </table>
  </div>`
}

/** One row of such a table. */
export function tableRow(columns: readonly Column[], row: readonly Content[]): Html {
  const cells = columns.map((column, index) => {
    const cell = row[index]
    const isBlank = cell === null || cell === undefined || cell === false || cell === ''
    return html`<td data-head="${column.head}" class="${classOf(column)}${isBlank ? ' blank' : ''}">
      <div>${cell}</div>
    </td>`
  })
  return html`<tr>
    ${cells}
  </tr>`
}

function classOf({ numeric, long, short }: Column): string {
  return [numeric === true ? 'num' : '', long === true ? 'long' : '', short === true ? 'short' : '']
    .filter(word => word !== '')
    .join(' ')
}

/** A part of a page with its heading. */
export function panel(title: string, body: Content, aside?: Content): Html {
  return html`<section class="panel">
    <header>
      <h2>${title}</h2>
      ${aside === undefined ? '' : html`<div class="aside">${aside}</div>`}
    </header>
    ${body}
  </section>`
}

/** Names and values under each other. */
export function facts(entries: readonly (readonly [string, Content])[]): Html {
  return html`<dl class="facts">
    ${entries.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}

/** One large number with its name. */
export function figure(name: string, value: string, detail?: Content): Html {
  return html`<div class="figure">
    <span class="name">${name}</span><span class="value">${value}</span>${
      detail === undefined ? '' : html`<span class="detail">${detail}</span>`
    }
  </div>`
}

/** A labelled input of a form. Every attribute is escaped. */
export function textField(
  label: string,
  name: string,
  options: {
    readonly value?: string
    readonly type?: 'text' | 'password' | 'number' | 'date' | 'search'
    readonly required?: boolean
    readonly autocomplete?: string
    readonly hint?: string
    readonly maxLength?: number
    readonly list?: string
  } = {},
): Html {
  const { type = 'text', value = '', hint } = options
  const hintId = `${name}-hint`
  return html`<label class="field"
    ><span>${label}</span
    ><input
      type="${type}"
      name="${name}"
      value="${value}"
      ${
        options.required === true ? html` required` : ''
      }${options.autocomplete === undefined ? '' : html` autocomplete="${options.autocomplete}"`}${
        options.maxLength === undefined ? '' : html` maxlength="${options.maxLength}"`
      }${options.list === undefined ? '' : html` list="${options.list}"`}${
        hint === undefined ? '' : html` aria-describedby="${hintId}"`
      }
    />${hint === undefined ? '' : html`<small id="${hintId}">${hint}</small>`}</label
  >`
}

/** A labelled choice of a form. */
export function choiceField(
  label: string,
  name: string,
  choices: readonly (readonly [value: string, text: string])[],
  chosen = '',
): Html {
  return html`<label class="field"
    ><span>${label}</span
    ><select name="${name}">
      ${choices.map(
        ([value, text]) =>
          html`<option value="${value}" ${value === chosen ? html` selected` : ''}>${text}</option>`,
      )}
    </select></label
  >`
}

/** Agents in their expected interval, late and gone, in words. */
export function senderWords(count: {
  readonly present: number
  readonly late: number
  readonly gone: number
}): Html {
  const { present, late, gone } = count
  const tone = gone > 0 ? (present + late === 0 ? 'bad' : 'warn') : late > 0 ? 'warn' : 'good'
  const words = [
    `${numberText(present)} on time`,
    ...(late === 0 ? [] : [`${numberText(late)} late`]),
    ...(gone === 0 ? [] : [`${numberText(gone)} gone`]),
  ]
  return present + late + gone === 0 ? html`<span class="dim">none yet</span>` : state(tone, words.join(', '))
}
