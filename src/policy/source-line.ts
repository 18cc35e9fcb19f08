// A place in a policy file: what "which line decided" points at.

/** A place in a file that an admin edits. Lines and columns count from 1. */
export type SourceLine = { readonly file: string; readonly line: number; readonly column: number }

/** Stands for a value that no file states: a built-in default. */
export const BUILT_IN: SourceLine = { file: '(built-in default)', line: 0, column: 0 }

/** `file:line:column`, or the file alone when there is no line. */
export function formatSourceLine(at: SourceLine): string {
  return at.line === 0 ? at.file : `${at.file}:${at.line}:${at.column}`
}
