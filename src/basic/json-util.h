/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
#include <stdlib.h>

#include "cleanup.h"

#define _cleanup_json_ _cleanup_(json_decrefp)

/* A member of an object as a string; NULL where it is absent or no string. Borrowed. */
static inline const char *json_get_string(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

/* A member of an object as an integer; `otherwise` where it is absent or no integer. */
static inline json_int_t json_get_integer(const json_t *object, const char *key, json_int_t otherwise) {
        const json_t *value = json_object_get(object, key);

        return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

/* An array of the strings; NULL out of memory. */
static inline json_t *json_from_strv(char *const *list) {
        json_t *array = json_array();

        for (; array && list && *list; list++)
                if (json_array_append_new(array, json_string(*list)) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

/* The value as text, owned; NULL out of memory. Unlike json_dumps, which goes on past an allocation that failed in
 * the midst of a key and returns damaged text, it allocates the text once. */
static inline char *json_to_text(const json_t *json, size_t flags) {
        size_t size = json_dumpb(json, NULL, 0, flags);
        _cleanup_free_ char *text = size > 0 ? malloc(size + 1) : NULL;

        if (!text || json_dumpb(json, text, size, flags) != size)
                return NULL;
        text[size] = '\0';
        return TAKE_PTR(text);
}
