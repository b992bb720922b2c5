/**
 * Conditions of the API's query, as a person types them.
 */

/** What finds the instances of a source, as it is typed above their list. */
export const conditionOf = (name: string): string => `source=${/^[\w.-]+$/.test(name) ? name : JSON.stringify(name)}`
