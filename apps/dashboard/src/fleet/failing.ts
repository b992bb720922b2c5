/**
 * When calls fail more than they should: one rule for states, figures and lists.
 */

/** Share of calls. */
const share = 0.02
/** Calls that failed, below which their share says nothing of how a service is now. */
const few = 3

/** Whether a share of failed calls asks for somebody; none: there were no calls. */
export const isFailing = (failed: number | undefined): failed is number => failed !== undefined && failed >= share

/** Whether a service is unhealthy by its calls alone: those that failed are also more than a few. */
export const areFailing = (failed: number | undefined, failures: number): failed is number =>
  isFailing(failed) && failures >= few
