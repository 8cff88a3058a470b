/** Requests that allocate 60 MB a second, most of it dead at once, and a cache of 150 MB in which one entry in 100 is replaced. */
public class Collect {
    public static void main(String[] words) throws InterruptedException {
        byte[][] cache = new byte[150_000][];
        java.util.Random random = new java.util.Random(1);
        for (int entry = 0; entry < cache.length; entry++)
            cache[entry] = new byte[1000];
        for (long request = 0;; request++) {
            byte[] answer = new byte[1000 + random.nextInt(1000)];
            if (request % 100 == 0)
                cache[random.nextInt(cache.length)] = answer;
            if (request % 400 == 0)
                Thread.sleep(10);
        }
    }
}
