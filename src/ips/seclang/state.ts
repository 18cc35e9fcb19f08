// Names under which the state of a run is kept that rules cannot name: no variable of theirs begins with NUL.

/** Processor that a control rule chose for the body. */
export const PROCESSOR = '\0processor'

/** Prefix of variables of collections that outlive a request elsewhere; here they live as long as the request. */
export const KEPT = '\0kept '

/** Whether a key of TX is one that rules wrote. */
export function isVisible(key: string): boolean {
  return key.charCodeAt(0) !== 0
}
