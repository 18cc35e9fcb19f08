// Where the bench's programs print: results to stdout, progress and mistakes to stderr.

/** Prints a part of the result. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Prints progress or a mistake. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}
