/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* STORE/objects/ab/cdef…: contents by their SHA-256. Private to snapshot*.c. Writers hold the store's lock. */

#include <stdint.h>

#include "basic/digest.h"

/* Copies what is left of `fd` into the object `hex`, durably but for the entry of "ab" in objects/ itself: the caller
 * fsyncs objects_fd once. An object that is there and sound is kept. -EAGAIN when the content is not what `hex` says.
 */
int snapshot_object_put(int objects_fd, int fd, const char *hex) _must_check_;

/* > 0 when the object is there with this size and its content matches its name, 0 when it is missing or damaged. */
int snapshot_object_check(int objects_fd, const char *hex, uint64_t size) _must_check_;

/* Appends the object's content to `fd` (opened for reading and writing, empty), and proves it: -EBADMSG. */
int snapshot_object_copy(int objects_fd, const char *hex, int fd) _must_check_;

/* Removes every object that is not among the `n` sorted digests, and leftovers. The number of objects removed. */
int snapshot_objects_prune(int objects_fd, const char *const *digests, size_t n) _must_check_;
