#include <stdio.h>

int main(int argc, char **argv)
{
    printf("rhea %s\n", RHEA_VERSION);
    return 0;
}
