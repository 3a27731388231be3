/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A YAML document as a flat list of nodes that know which bytes they came from. Private to config-yaml. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

#define YAML_TOP ((size_t) 0) /* the index of the mapping that the document is */

typedef enum YamlKind {
        YAML_KIND_SCALAR,
        YAML_KIND_MAPPING,
        YAML_KIND_SEQUENCE,
} YamlKind;

typedef struct YamlNode {
        YamlKind kind;
        size_t parent;     /* index; the top node is its own */
        char *key;         /* NULL in a sequence and for the top node */
        char *value;       /* of a scalar, NULL for the others */
        size_t start, end; /* bytes of the whole text, [start, end) */
        size_t line;       /* from 1 */
        char quote;        /* of a scalar: 0, '\'' or '"'; '|' for both block styles */
        bool plain;        /* a scalar without quotes */
        bool decorated;    /* has a tag or an anchor, which lie inside [start, end) */
        bool flow;         /* {…} or […] */
} YamlNode;

typedef struct YamlDocument {
        YamlNode *nodes; /* in the order of the text; [YAML_TOP] is the top mapping */
        size_t n;
} YamlDocument;

YamlDocument *yaml_document_free(YamlDocument *d);
DEFINE_CLEANUP(YamlDocument *, yaml_document_free)

/* One UTF-8 document that is a mapping; keys are scalars and at most once in each mapping (-EEXIST); no aliases. */
int yaml_document_parse(const char *text, size_t size, YamlDocument **ret, char **reterr) _must_check_;

const YamlNode *yaml_document_find(const YamlDocument *d, size_t parent,
                                   const char *key); /* borrowed; NULL where none */
bool yaml_node_is_null(const YamlNode *node);
