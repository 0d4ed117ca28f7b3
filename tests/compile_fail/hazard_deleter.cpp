// weir (BSL-1.0). hazard_deleter: a deleter that does not take the object.
#include <weir/base/hazard_pointer.hpp>

struct wrong_deleter {
    void operator()(int) const;
};
struct right : weir::hazard_pointer_obj_base<right> {};
struct wrong : weir::hazard_pointer_obj_base<wrong, wrong_deleter> {};

void retire_right(right* object) { object->retire(); }
#ifdef WEIR_MUST_FAIL
void retire_wrong(wrong* object) { object->retire(); }
#endif
