/* The problems' equations alone, for machines without SUNDIALS. Built by stiff_cvode.py. */
#include "stiff_table.h"
